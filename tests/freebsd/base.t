#!/bin/sh
# The base system's HAST: its hastctl with our hastd, ours with its hastd, a component that it made
# taken over as it is, and both kinds of node together.

# Functions are handed to others by name.
# shellcheck disable=SC2317

. ./lib.sh
begin
base_hastd=${BASE_HASTD:-/sbin/hastd}
base_hastctl=${BASE_HASTCTL:-/sbin/hastctl}
for program in "$base_hastd" "$base_hastctl"; do
	[ -x "$program" ] || skip_all "there is no $program"
done

# Base knows no -n: its configuration is ours with this machine's name for that node's.
base_conf()
{
	sed "s/^\([[:space:]]*on\) $1 {/\1 $(hostname -s) {/" "$conf" > "$work/base.$1.conf"
}

base()
{
	_base_node=$1
	_base_command=$2
	shift 2
	"$base_hastctl" "$_base_command" -c "$work/base.$_base_node.conf" "$@"
}

base_up()
{
	# shellcheck disable=SC2016 # that shell's
	daemon -f /bin/sh -c 'log=$1; shift; exec "$@" >> "$log" 2>&1' sh "$work/$1.log" \
	    "$base_hastd" -F -c "$work/base.$1.conf" -P "$work/$1.pid"
	within 20 base "$1" role init all
	# In the foreground it keeps no file.
	pgrep -f "^$base_hastd -F -c $work/base.$1.conf" > "$work/$1.pid"
}

base_role()
{
	base "$1" list all | awk '$1 == "role:" { print $2 }'
}

# A primary that waits for ever for its worker (bug 292322) ends by force, and leaves its device.
base_down()
{
	bounded 10 base "$1" role init all
	end_process "$(main_pid "$1")"
	if [ "$1" = a ]; then
		_unit=$(gate unit "$device")
		[ -z "$_unit" ] || ggatel destroy -f -u "$_unit"
	fi
	rm -f "$work/$1.pid" "$work/$1.control"
}

end_main()
{
	end_process "$(main_pid "$1")"
	rm -f "$work/$1.pid"
}

# replicating WHAT: base's nodes replicate to each other; where they do not, WHAT can not be tried.
replicating()
{
	[ -n "$replicates" ] && return
	skip "$1" "this release's hastd does not replicate to itself (bug 292322)"
	return 1
}

# Base's primary has nothing left to copy, and both nodes' data is the same.
synchronised()
{
	base a list "$name" | grep -q 'dirty: 0 ' && same_data
}

# Base's offset of data is the same on both nodes; the first MiB has what differs.
same_data()
{
	for _node in a b; do
		dd if="$(component "$_node" "$name")" bs=1m skip=1 2> /dev/null | sha256
	done | uniq | wc -l | grep -q '^ *1$'
}

name=${mark}0
device=$(device a "$name")
components 32m "$name"
configure "$name"
base_conf a
base_conf b

# In-place upgrade.
need "base's hastctl creates components" base a create "$name"
need "on both nodes" base b create "$name"
check "our hastctl dumps it" ctl a dump "$name"
says "with the resource's name" "$name"
need "base's hastd runs on a" base_up a
check "our hastctl makes it primary" ctl a role primary "$name"
soon "its device is there" test -c "$device"
is "base says so, too" "$(base_role a)" primary
check "our hastctl shows base's status" ctl a status "$name"
check "it is written to" dd if=/dev/random of="$work/pattern" bs=1m count=4
check "by the megabyte" within 60 dd if="$work/pattern" of="$device" bs=1m
need "base's hastd runs on b" base_up b
check "it becomes secondary" base b role secondary "$name"
replicates=
if within 20 synchronised > /dev/null; then
	replicates=yes
fi
check "base's hastd ends on b" base_down b
check "base's hastd ends" base_down a
need "our hastd runs on a, with its component" up a
check "base's hastctl makes it primary" base a role primary "$name"
is "our hastd is primary" "$(role a "$name")" primary
check "what base has written is there" sh -c "dd if='$device' bs=1m count=4 | cmp - '$work/pattern'"
check "base's hastctl lists" base a list "$name"
says "the role" "role: primary"
check "base's hastctl shows the status" base a status "$name"
says "of the resource" "$name.*primary"

# Base as secondary.
need "base's hastd runs on b" base_up b
check "it becomes secondary" base b role secondary "$name"
if replicating "base's secondary is brought up to date"; then
	soon "base's secondary is brought up to date" is_complete a "$name"
	check "it is written to" bounded 60 dd if=/dev/random of="$device" bs=1m count=2
	soon "it is complete" is_complete a "$name"
	check "both copies are the same" same_data
fi
check "base's hastd ends" base_down b
check "base's hastctl makes a init" base a role init "$name"

# Base as primary, ours as secondary.
need "our hastd runs on b" up b
check "our hastd ends on a" end_main a
need "base's hastd runs on a" base_up a
check "b becomes secondary" ctl b role secondary "$name"
check "a becomes primary" base a role primary "$name"
if replicating "base's primary brings b up to date"; then
	soon "base's primary brings b up to date" synchronised
fi
check "base's hastd ends" base_down a
finish
