# What the tests share: two nodes, a and b, on this machine, and TAP.
#
# A test sources this, calls begin, makes its checks, and calls finish. Whatever happens, sweep
# takes away what is left: everything that tests make is in $work or bears $mark in its name.
# shellcheck shell=sh

HASTD=${HASTD:-/usr/local/sbin/hastd}
HASTCTL=${HASTCTL:-/usr/local/sbin/hastctl}
# The node a listens here, b on the port above; one more is for NBD.
HAST_PORT=${HAST_PORT:-18457}
# Seconds that events may take are multiplied with this, for machines that are slow.
HAST_SLOW=${HAST_SLOW:-1}

work=${HAST_WORK:-/var/tmp/hast-tests}
mark=hasttest
conf=$work/hast.conf
replication=fullsync
# Set to yes, each node has a device of its own name, so that both can be there.
apart=
# Set to yes, the devices are served over NBD: a's at a socket in $work, b's at a third port.
nbd=
checks=0
failures=0

begin()
{
	if [ "$(uname -s)" != FreeBSD ]; then
		skip_all "this is not FreeBSD"
	fi
	if [ "$(id -u)" != 0 ]; then
		skip_all "only root can do this"
	fi
	for _program in "$HASTD" "$HASTCTL"; do
		[ -x "$_program" ] || bail "there is no $_program: run 'make install' first"
	done
	if ! mkdir "$work" 2> /dev/null; then
		_owner=$(cat "$work/owner" 2> /dev/null)
		if [ -n "$_owner" ] && kill -0 "$_owner" 2> /dev/null; then
			bail "the tests run already, as process $_owner"
		fi
		sweep
		mkdir "$work" || bail "$work can not be made"
	fi
	echo $$ > "$work/owner"
	trap 'sweep' EXIT
	trap 'echo "Bail out! interrupted"; exit 130' INT TERM HUP
	kldload -n geom_gate || bail "geom_gate can not be loaded"
}

finish()
{
	echo "1..$checks"
	[ "$failures" -eq 0 ]
	exit
}

# TAP.

ok()
{
	checks=$((checks + 1))
	echo "ok $checks - $*"
}

not_ok()
{
	checks=$((checks + 1))
	failures=$((failures + 1))
	echo "not ok $checks - $*"
}

skip()
{
	checks=$((checks + 1))
	echo "ok $checks - $1 # SKIP $2"
}

skip_all()
{
	echo "1..0 # SKIP $*"
	exit 0
}

bail()
{
	complain < /dev/null
	echo "Bail out! $*"
	exit 1
}

# The lines of standard input, and the ends of the nodes' logs.
complain()
{
	sed 's/^/# /'
	for _log in "$work"/?.log; do
		[ -e "$_log" ] && tail -n 10 "$_log" | sed "s,^,# ${_log##*/}: ,"
	done
}

# check WHAT COMMAND...: it succeeds.
check()
{
	_what=$1
	shift
	if "$@" > "$work/output" 2>&1; then
		ok "$_what"
	else
		_status=$?
		not_ok "$_what"
		{ echo "exit status $_status: $*"; cat "$work/output"; } | complain
		return 1
	fi
}

# refused WHAT COMMAND...: it fails, and what it says is left in $work/output.
refused()
{
	_what=$1
	shift
	if "$@" > "$work/output" 2>&1; then
		not_ok "$_what"
		{ echo "it succeeded: $*"; cat "$work/output"; } | complain
		return 1
	fi
	ok "$_what"
}

# says WHAT PATTERN: the last command's output has a line like this (grep -E).
says()
{
	if grep -Eq -e "$2" "$work/output"; then
		ok "$1"
	else
		not_ok "$1"
		{ echo "not in the output: $2"; cat "$work/output"; } | complain
	fi
}

# is WHAT GOT WANTED
is()
{
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1"
		echo "got '$2', wanted '$3'" | complain
	fi
}

# within SECONDS COMMAND...: it succeeds in the end.
within()
{
	_end=$(($(date +%s) + $1 * HAST_SLOW))
	shift
	until "$@"; do
		if [ "$(date +%s)" -ge "$_end" ]; then
			echo "still not after the time allowed: $*"
			return 1
		fi
		sleep 0.2
	done
}

# bounded SECONDS COMMAND...: as timeout(1), also for what waits in the kernel, where no signal
# reaches it; that is left behind.
bounded()
{
	_bound=$1
	shift
	_ended=$(mktemp /tmp/hast-ended.XXXXXX) || return 1
	( trap - EXIT INT TERM HUP; "$@"; echo $? > "$_ended" ) &
	_job=$!
	within "$_bound" test -s "$_ended" > /dev/null || kill -KILL "$_job" 2> /dev/null
	_result=$(cat "$_ended")
	rm -f "$_ended"
	return "${_result:-124}"
}

# soon WHAT COMMAND...: it succeeds within 30 seconds.
soon()
{
	_wanted=$1
	shift
	check "$_wanted" within 30 "$@"
}

# need WHAT COMMAND...: what all that follows is built upon.
need()
{
	check "$@" || bail "nothing of the rest can be tried"
}

not()
{
	! "$@"
}

# The nodes.

# pair SIZE RESOURCE...: both nodes run, a primary, b secondary, and the copies are equal.
pair()
{
	_size=$1
	shift
	components "$_size" "$@"
	configure "$@"
	need "components are created on a" ctl a create "$@"
	need "components are created on b" ctl b create "$@"
	need "hastd runs on a" up a
	need "hastd runs on b" up b
	need "b becomes secondary" ctl b role secondary all
	need "a becomes primary" ctl a role primary all
	for _resource in "$@"; do
		need "$_resource is complete" within 60 is_complete a "$_resource"
	done
}

# components SIZE RESOURCE...: memory disks for both nodes.
components()
{
	_size=$1
	shift
	for _resource in "$@"; do
		for _node in a b; do
			_md=$(mdconfig -a -t swap -s "$_size") || bail "no memory disk of $_size"
			echo "$_md" >> "$work/md"
			echo "/dev/$_md" > "$work/component.$_node.$_resource"
		done
	done
}

component()
{
	cat "$work/component.$1.$2"
}

# device NODE RESOURCE
device()
{
	echo "/dev/hast/$2${apart:+.$1}"
}

port()
{
	case $1 in
	a) echo "$HAST_PORT" ;;
	b) echo $((HAST_PORT + 1)) ;;
	esac
}

# configure RESOURCE...: writes $conf, for both nodes.
configure()
{
	{
		echo "replication $replication"
		for _node in a b; do
			echo "on $_node {"
			echo "	control uds://$work/$_node.control"
			echo "	listen tcp4://127.0.0.1:$(port $_node)"
			echo "	pidfile $work/$_node.pid"
			echo "}"
		done
		for _resource in "$@"; do
			echo "resource $_resource {"
			configure_node a b "$_resource"
			configure_node b a "$_resource"
			echo "}"
		done
	} > "$conf"
}

configure_node()
{
	echo "	on $1 {"
	[ -z "$apart" ] || echo "		name $3.$1"
	case $nbd$1 in
	yesa) echo "		provider nbd $work/a.nbd" ;;
	yesb) echo "		provider nbd tcp4://127.0.0.1:$((HAST_PORT + 2))" ;;
	esac
	echo "		local $(component "$1" "$3")"
	echo "		remote tcp4://127.0.0.1:$(port "$2")"
	echo "	}"
}

# ctl NODE COMMAND ARGUMENT...
ctl()
{
	_ctl_node=$1
	_ctl_command=$2
	shift 2
	"$HASTCTL" "$_ctl_command" -c "$conf" -n "$_ctl_node" "$@"
}

# up NODE: starts its hastd, away from this terminal, with its log in $work.
up()
{
	# shellcheck disable=SC2016 # that shell's
	daemon -f /bin/sh -c 'log=$1; shift; exec "$@" >> "$log" 2>&1' sh \
	    "$work/$1.log" "$HASTD" -F -c "$conf" -n "$1" -P "$work/$1.pid"
	within 20 ctl "$1" status
}

main_pid()
{
	cat "$work/$1.pid"
}

worker_pid()
{
	ctl "$1" list "$2" | awk '$1 == "workerpid:" { print $2 }'
}

gone()
{
	! kill -0 "$1" 2> /dev/null
}

# die NODE: all its processes end at once, as if the machine had failed.
die()
{
	_victims=$(main_pid "$1")
	_victims="$_victims $(pgrep -P "$_victims")"
	# shellcheck disable=SC2086 # several numbers
	kill -KILL $_victims
	for _victim in $_victims; do
		within 10 gone "$_victim" || return 1
	done
	# A memory disk that was being written to is closed when its process has ended.
	rm -f "$work/$1.pid"
}

# status NODE RESOURCE: complete, syncing, degraded or -.
status()
{
	ctl "$1" status "$2" | awk -v name="$2" '$1 == name { print $2 }'
}

# capability_mode PROCESS: procstat(1) marks it with C.
capability_mode()
{
	procstat credential "$1" | awk 'NR == 2 { print $10 }' | grep -q C
}

role()
{
	ctl "$1" list "$2" | awk '$1 == "role:" { print $2 }'
}

is_complete()
{
	[ "$(status "$1" "$2")" = complete ]
}

# What geom gate list says of a node's device, a line "Word: value" each.
gate()
{
	geom gate list | awk -v name="${2#/dev/}" '
		/^Geom name:/ { seen = 0; text = "" }
		{ text = text $0 "\n" }
		$2 == "Name:" && $3 == name { seen = 1 }
		/^$/ && seen { printf "%s", text; seen = 0 }
	' | sed -n "s/^ *$1: //p" | head -n 1
}

# informs DEVICE TEXT: GEOM's info of it has this text.
informs()
{
	case $(gate info "$1") in
	*"$2"*) ;;
	*) return 1 ;;
	esac
}

mount_on()
{
	mkdir -p "$2"
	mount -t ufs "$1" "$2"
}

# unmounted DIRECTORY: nothing is mounted there. UFS takes a file system away by itself when its
# device is gone; what it leaves goes by force.
unmounted()
{
	mount -p | awk -v on="$1" '$2 == on { found = 1 } END { exit found }' && return
	bounded 5 umount -f "$1"
	return 1
}

# mode_is DEVICE MODE: how it is open, as GEOM says it.
mode_is()
{
	[ "$(gate Mode "$1")" = "$2" ]
}

# Ends a job of this shell.
kill_quietly()
{
	pkill -P "$1"
	kill "$1" 2> /dev/null
	wait "$1" 2> /dev/null
}

# fill DIRECTORY: some files, whose sums are left in $work/sums.
fill()
{
	mkdir -p "$1/some/where" &&
	dd if=/dev/random of="$1/random" bs=64k count=32 2> /dev/null &&
	jot 20000 > "$1/some/numbers" &&
	cp -R /etc "$1/some/where" &&
	sums "$1" > "$work/sums" &&
	[ -s "$work/sums" ]
}

sums()
{
	( cd "$1" && find . -type f -not -path './.snap/*' -not -path './acked/*' \
	    -not -path './lost+found/*' | sort |
	    xargs sha256 )
}

# same DIRECTORY: has what fill put there.
same()
{
	sums "$1" > "$work/sums.now" && cmp "$work/sums" "$work/sums.now"
}

# write_on DIRECTORY: in the background, writes files and notes each in $work/acked once
# fsync(1) has said that it is on the disk.
write_on()
{
	# fsync(1) of a file says nothing of its directory's own name.
	mkdir -p "$1/acked"
	fsync "$1/acked"
	: > "$work/acked"
	(
		# Its end is not the test's.
		trap - EXIT INT TERM HUP
		_n=0
		while [ ! -e "$work/enough" ]; do
			_n=$((_n + 1))
			jot -b "file $_n" 500 > "$1/acked/$_n" &&
			fsync "$1/acked/$_n" &&
			echo "$_n" >> "$work/acked" || exit 1
		done
	) > "$work/writer.log" 2>&1 &
	writer=$!
	echo "$writer" > "$work/writer.pid"
}

# The number of files acknowledged is above this.
acked_above()
{
	[ "$(wc -l < "$work/acked")" -gt "$1" ]
}

acked()
{
	wc -l < "$work/acked" | tr -d ' '
}

# Ends the writer; fails if it saw an error.
write_end()
{
	touch "$work/enough"
	wait "$writer"
}

# Every file that was acknowledged is in DIRECTORY, and whole.
all_there()
{
	while read -r _n; do
		jot -b "file $_n" 500 | cmp - "$1/acked/$_n" || return 1
	done < "$work/acked"
}

# Cleaning up.

# Takes away all that tests have made; what does not go in peace goes by force.
sweep()
{
	trap '' INT TERM HUP
	touch "$work/enough" 2> /dev/null
	release_users 10
	for _node in a b; do
		[ ! -S "$work/$_node.control" ] ||
			bounded 20 "$HASTCTL" role -c "$conf" -n "$_node" --force init all
	done > /dev/null 2>&1
	for _file in "$work"/*.pid; do
		if [ -s "$_file" ]; then
			end_process "$(cat "$_file")"
		fi
	done
	# What hastd has left.
	geom gate list 2> /dev/null |
	    awk -v mark="hast/$mark" '$2 == "Name:" && index($3, mark) == 1 { print $3 }' | while read -r _device; do
		_unit=$(gate unit "/dev/$_device")
		ggatel destroy -f -u "$_unit"
	done
	release_users 30
	if [ -e "/etc/syslog.d/$mark.conf" ]; then
		rm -f "/etc/syslog.d/$mark.conf"
		service syslogd onereload > /dev/null
	fi
	sweep_disks
	rm -rf "$work"
}

# A main process and what it started, or a writer.
end_process()
{
	_children=$(pgrep -P "$1")
	# shellcheck disable=SC2086 # several numbers
	kill -CONT "$1" $_children 2> /dev/null
	kill -TERM "$1" 2> /dev/null
	within 10 gone "$1" && return
	# shellcheck disable=SC2086
	kill -KILL "$1" $_children 2> /dev/null
}

# release_users SECONDS: unmounts and exports.
release_users()
{
	mount -p | awk -v mark="$mark" '$1 ~ ("^/dev/hast/" mark) { print $2 }' |
	    while read -r _directory; do
		bounded "$1" umount -f "$_directory"
	done
	kldstat -q -m zfs || return 0
	zpool list -H -o name 2> /dev/null | grep "^$mark" | while read -r _pool; do
		bounded "$1" zpool export -f "$_pool"
	done
}

sweep_disks()
{
	[ -e "$work/md" ] && while read -r _md; do
		within 10 mdconfig -d -u "$_md" || mdconfig -d -o force -u "$_md"
	done < "$work/md"
	if [ -d "$work/tmpfs" ]; then
		umount -f "$work/tmpfs" 2> /dev/null
	fi
}
