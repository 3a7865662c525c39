# GNU make and BSD make alike. Every target needs cargo; what else one needs it says.

CARGO = cargo
# Runs of `make simulate`; seconds for each target of `make fuzz`.
SEEDS = 100000
FUZZ_SECONDS = 60

all:
	$(CARGO) build --release --bins

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

.PHONY: all test freebsd demo simulate bench fuzz
