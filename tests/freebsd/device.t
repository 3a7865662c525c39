#!/bin/sh
# The device appears and goes with the role; GEOM says what it is; workers give up privileges.

. ./lib.sh
begin

name=${mark}0
pair 32m "$name"
device=$(device a "$name")

check "the device is there" test -c "$device"
soon "GEOM's info names role and state" informs "$device" "$name: primary, complete; peer "
is "nobody has it open" "$(gate Mode "$device")" "r0w0e0"
size=$(ctl a dump "$name" | awk '$1 == "datasize:" { print $2 }')
is "it has the resource's size" "$(diskinfo "$device" | cut -f 3)" "$size"
is "and the component's sectors" "$(diskinfo "$device" | cut -f 2)" \
    "$(diskinfo "$(component a "$name")" | cut -f 2)"

check "it can be written to" dd if=/dev/random of="$work/pattern" bs=1m count=4
check "by the megabyte" dd if="$work/pattern" of="$device" bs=1m
check "and read" sh -c "dd if='$device' bs=1m count=4 | cmp - '$work/pattern'"

for node in a b; do
	is "ps names the worker on $node, its role, and nothing else" \
	    "$(ps -ww -o args= -p "$(worker_pid $node "$name")" | sed 's/ (hastd)$//')" \
	    "hastd: $name ($(role $node "$name"))"
done
is "pgrep finds it by that" "$(pgrep -f "hastd: $name \(secondary\)")" "$(worker_pid b "$name")"
if [ -x /usr/bin/procstat ]; then
	for node in a b; do
		worker=$(worker_pid "$node" "$name")
		is "the worker on $node is the user hast" "$(ps -o user= -p "$worker")" hast
		check "it is in a jail" test "$(ps -o jid= -p "$worker")" -gt 0
		check "it is in capability mode" capability_mode "$worker"
	done
else
	skip "what workers have given up" "there is no procstat(1)"
fi

check "a becomes secondary" ctl a role secondary "$name"
check "the device is gone" not test -e "$device"
check "b becomes primary" ctl b role primary "$name"
check "the device is there again" test -c "$(device b "$name")"
check "with what was written" sh -c "dd if='$device' bs=1m count=4 | cmp - '$work/pattern'"
check "b is init" ctl b role init "$name"
check "nothing is left in GEOM" test -z "$(gate unit "$device")"
finish
