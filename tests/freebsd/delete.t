#!/bin/sh
# A delete (TRIM) reaches the memory disks of both nodes, which then read zero there.

# Functions are handed to others by name.
# shellcheck disable=SC2317

. ./lib.sh
begin

# blank NODE: the component's middle, of which some was written and deleted, is zero.
blank()
{
	dd if="$(component "$1" "$name")" bs=1m skip=8 count=8 2> /dev/null |
	    cmp - "$work/zeros"
}

name=${mark}0
pair 32m "$name"
device=$(device a "$name")
dd if=/dev/zero of="$work/zeros" bs=1m count=8 2> /dev/null
check "the device is written to" dd if=/dev/random of="$device" bs=1m count=24
check "a's component has data" not blank a
check "b's component has data" not blank b
check "all of the first 24 MiB is deleted" trim -f -o 0 -l 24m "$device"
check "a's component is zero there" blank a
check "b's component is zero there" blank b
check "deletes are counted" sh -c "'$HASTCTL' list -c '$conf' -n a '$name' |
    awk '\$1 == \"deletes:\" { n = \$2 } END { exit n == 0 }'"

check "the device is written to" dd if=/dev/random of="$device" bs=1m count=24
check "newfs deletes everything first" newfs -E -U "$device"
need "mount" mount_on "$device" "$work/mnt"
check "the file system works" fill "$work/mnt"
check "umount" umount "$work/mnt"
check "fsck finds nothing" fsck_ffs -fn "$device"
soon "a is complete" is_complete a "$name"
finish
