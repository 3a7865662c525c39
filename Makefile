# GNU make and BSD make alike. Every target needs cargo; what else one needs it says.

CARGO = cargo
# Runs of `make simulate`; seconds of `make explore`, and for each target of `make fuzz`.
SEEDS = 100000
EXPLORE_SECONDS = 600
FUZZ_SECONDS = 60

# What make install takes and where it puts it. BINARIES may be the folder of programs built for
# another machine, as target/freebsd/x86_64-unknown-freebsd/release; DESTDIR another root.
BINARIES = target/release
DESTDIR =
PREFIX = /usr/local
TO = $(DESTDIR)$(PREFIX)
SCRIPTS = hast hast_carp hast_failover hast_witness
PAGES = hast.conf.5 hast-failover.toml.5 hast-failover.8 hastctl.8 hastd.8
CONFIGURATIONS = hast.conf devd/hast-failover.conf newsyslog.conf.d/hast.conf

all:
	$(CARGO) build --release --bins

# Installs the same as the port does; builds nothing. What is configured already is left alone, and
# with DESTDIR, as a package's, nothing is configured at all.
install:
	@test -x $(BINARIES)/hastd && test -x $(BINARIES)/hastctl && test -x $(BINARIES)/hast-failover || \
		{ echo "there are no programs in $(BINARIES): run make first" >&2; exit 1; }
	install -d $(TO)/sbin $(TO)/etc/rc.d $(TO)/etc/devd $(TO)/etc/newsyslog.conf.d \
		$(TO)/share/man/man5 $(TO)/share/man/man8 $(TO)/share/examples/hast/failover
	install -m 555 $(BINARIES)/hastd $(BINARIES)/hastctl $(BINARIES)/hast-failover $(TO)/sbin/
	@for script in $(SCRIPTS); do \
		rm -f $(TO)/etc/rc.d/$$script && \
		sed 's,/usr/local,$(PREFIX),g' rc.d/$$script > $(TO)/etc/rc.d/$$script && \
		chmod 555 $(TO)/etc/rc.d/$$script || exit 1; \
	done
	@for page in $(PAGES); do \
		install -m 444 man/$$page $(TO)/share/man/man$${page##*.}/ && \
		gzip -nf $(TO)/share/man/man$${page##*.}/$$page || exit 1; \
	done
	install -m 644 examples/hast.conf examples/hast.toml $(TO)/share/examples/hast/
	install -m 644 examples/failover/*.toml $(TO)/share/examples/hast/failover/
	install -m 555 examples/failover/fence-* $(TO)/share/examples/hast/failover/
	install -m 644 examples/hast.conf.sample $(TO)/etc/hast.conf.sample
	sed 's,/usr/local,$(PREFIX),g' examples/failover/devd.conf > $(TO)/etc/devd/hast-failover.conf.sample
	install -m 644 port/files/hast.newsyslog.conf $(TO)/etc/newsyslog.conf.d/hast.conf.sample
	@for file in $(CONFIGURATIONS); do \
		test -n "$(DESTDIR)" || test -e $(TO)/etc/$$file || \
			install -m 644 $(TO)/etc/$$file.sample $(TO)/etc/$$file || exit 1; \
	done

# Takes away what make install installs; a configuration only where it is still the sample.
deinstall:
	@for file in $(CONFIGURATIONS); do \
		! cmp -s $(TO)/etc/$$file.sample $(TO)/etc/$$file || rm $(TO)/etc/$$file || exit 1; \
		rm -f $(TO)/etc/$$file.sample; \
	done
	rm -f $(TO)/sbin/hastd $(TO)/sbin/hastctl $(TO)/sbin/hast-failover
	@for script in $(SCRIPTS); do rm -f $(TO)/etc/rc.d/$$script || exit 1; done
	@for page in $(PAGES); do rm -f $(TO)/share/man/man$${page##*.}/$$page.gz || exit 1; done
	rm -rf $(TO)/share/examples/hast

.PHONY: install deinstall

# Programs of other people that tests talk to are installed where that is possible, else named.
test:
	sh .ci/prepare
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) test --workspace

# hastd and hastctl for FreeBSD, on any system that has Debian's packages; lints what only FreeBSD has.
freebsd:
	sh .ci/prepare freebsd
	sh .ci/freebsd

# In the tests' profile, so that nothing is compiled twice.
demo:
	$(CARGO) build --bins --examples
	$(CARGO) run --quiet --example demo

# As SEEDS=1000000 make simulate, or make simulate SEEDS=1000000.
simulate:
	HAST_SEEDS=$(SEEDS) $(CARGO) test --release --test simulation -- --nocapture long_run

# Every order of events between two nodes, deeper than the tests go; HAST_SPACE='...' plays one space.
explore:
	HAST_EXPLORE_SECONDS=$(EXPLORE_SECONDS) $(CARGO) test --release --test explorer -- --nocapture long_run

# Needs fio, nbdkit and, for the rows with 40 ms of round trip, root and netem.
bench:
	$(CARGO) build --release --bins
	$(CARGO) run --release --package hast-bench

# Needs the nightly toolchain and cargo-fuzz.
fuzz:
	for target in fuzz/fuzz_targets/*.rs; do \
		$(CARGO) +nightly fuzz run "$$(basename "$$target" .rs)" -- \
			-max_total_time=$(FUZZ_SECONDS) || exit 1; \
	done

.PHONY: all test freebsd demo simulate explore bench fuzz
