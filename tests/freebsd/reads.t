#!/bin/sh
# Direct reads: the kernel reads from the component by itself while, and only while, that is current.

# Functions are handed to others by name.
# shellcheck disable=SC2317

. ./lib.sh
begin

# reads_from DEVICE PROVIDER: what GEOM says of it, nothing if all reads go to hastd.
reads_from()
{
	[ "$(gate read_provider "$1")" = "$2" ]
}

name=${mark}0
pair 32m "$name"
device=$(device a "$name")
disk=$(basename "$(component a "$name")")
soon "the kernel reads from the component" reads_from "$device" "$disk"
before=$(ctl a list "$name" | awk '$1 == "reads:" { print $2 }')
check "it is written to" dd if=/dev/random of="$work/pattern" bs=1m count=8
check "by the megabyte" dd if="$work/pattern" of="$device" bs=1m
check "and read" sh -c "dd if='$device' bs=1m count=8 | cmp - '$work/pattern'"
after=$(ctl a list "$name" | awk '$1 == "reads:" { print $2 }')
check "hastd has seen few of the reads" test $((after - before)) -lt 8

check "b is written to alone: a is init" ctl a role init "$name"
check "b becomes primary" within 30 ctl b role primary "$name"
check "everything is written anew" dd if=/dev/random of="$work/pattern" bs=1m count=8
check "on b" dd if="$work/pattern" of="$device" bs=1m
check "b is init" ctl b role init "$name"
check "a, which is stale, becomes primary" within 30 ctl a role primary "$name"
check "b becomes secondary" ctl b role secondary "$name"
check "what b has written is read on a" within 30 sh -c \
    "dd if='$device' bs=1m count=8 2> /dev/null | cmp -s - '$work/pattern'"
soon "a is complete" is_complete a "$name"
soon "the kernel reads by itself again" reads_from "$device" "$disk"
check "the same" sh -c "dd if='$device' bs=1m count=8 | cmp - '$work/pattern'"
finish
