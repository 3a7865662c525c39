#!/bin/sh
# A raidz pool on three resources: scrub, export and import at failover, a crash under it.

# Functions are handed to others by name.
# shellcheck disable=SC2317

. ./lib.sh
begin
kldload -n zfs 2> /dev/null || skip_all "ZFS can not be loaded"

pool=${mark}pool
pair 96m "${mark}0" "${mark}1" "${mark}2"

# No errors in any file, and every device in its place.
healthy()
{
	zpool status "$pool"
	zpool status "$pool" | grep -q 'errors: No known data errors' &&
	[ "$(zpool list -H -o health "$pool")" = ONLINE ]
}

scrub()
{
	bounded 60 zpool scrub -w "$pool" && healthy &&
	zpool status "$pool" | grep -q 'scrub repaired 0B .* with 0 errors'
}

all_complete()
{
	for name in "${mark}0" "${mark}1" "${mark}2"; do
		is_complete "$1" "$name" || return 1
	done
}

need "a pool is made" zpool create -o cachefile=none -o failmode=continue -m "$work/mnt" \
    "$pool" raidz1 "/dev/hast/${mark}0" "/dev/hast/${mark}1" "/dev/hast/${mark}2"
check "with large records" zfs set recordsize=1m "$pool"
check "files are written" fill "$work/mnt"
check "and a large one" dd if=/dev/random of="$work/mnt/some/large" bs=1m count=24
sums "$work/mnt" > "$work/sums"
check "scrub finds nothing" scrub
refused "role secondary is refused while the pool is imported" ctl a role secondary "${mark}0"
says "and ZFS is named" "ZFS"

write_on "$work/mnt"
soon "files are written and acknowledged" acked_above 3
check "a worker is killed" kill -KILL "$(worker_pid a "${mark}1")"
before=$(acked)
soon "writing goes on" acked_above $((before + 5))
check "the writer saw no error" write_end
soon "a is complete" all_complete a
check "the pool is healthy" healthy

check "export" bounded 60 zpool export "$pool"
check "a becomes secondary" ctl a role secondary all
check "b becomes primary" ctl b role primary all
need "import on b" bounded 60 zpool import -o cachefile=none -d /dev/hast "$pool"
check "the files are the same on b" same "$work/mnt"
check "every file that was acknowledged is there" all_there "$work/mnt"
check "scrub finds nothing on b" scrub
check "more is written on b" dd if=/dev/random of="$work/mnt/some/more" bs=1m count=8
sums "$work/mnt" > "$work/sums"

check "export" bounded 60 zpool export "$pool"
soon "b is complete" all_complete b
check "b becomes secondary" ctl b role secondary all
check "a becomes primary" ctl a role primary all
need "import on a" bounded 60 zpool import -o cachefile=none -d /dev/hast "$pool"
check "the files are the same on a" same "$work/mnt"
check "scrub finds nothing on a" scrub
check "the pool is destroyed" bounded 60 zpool destroy "$pool"
check "a is init" ctl a role init all
finish
