#!/bin/sh
# UFS asks for speed (BIO_SPEEDUP) when it is short of memory or of space: the device survives it,
# and so does what is on it. A file system that is filled up and emptied makes it ask.

# Functions are handed to others by name.
# shellcheck disable=SC2317

. ./lib.sh
begin

churn()
{
	for _round in 1 2 3; do
		# It is to be full.
		dd if=/dev/random of="$work/mnt/large" bs=64k 2> /dev/null
		rm -f "$work/mnt/large"
		mkdir "$work/mnt/many"
		jot 400 | ( cd "$work/mnt/many" && xargs touch ) || return 1
		rm -rf "$work/mnt/many"
	done
}

name=${mark}0
pair 24m "$name"
device=$(device a "$name")
worker=$(worker_pid a "$name")
# -t has blocks deleted, which is what makes UFS ask when there is no space.
need "newfs" newfs -U -t "$device"
need "mount" mount_on "$device" "$work/mnt"
check "files are written" fill "$work/mnt"
check "it is filled and emptied" churn
is "the worker is the same" "$(worker_pid a "$name")" "$worker"
soon "a is complete" is_complete a "$name"
check "the files are the same" same "$work/mnt"
check "umount" umount "$work/mnt"
check "fsck finds nothing" fsck_ffs -fn "$device"
finish
