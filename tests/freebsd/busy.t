#!/bin/sh
# A device in use keeps its role, and who uses it is said; --force takes it away.

. ./lib.sh
begin

name=${mark}0
pair 32m "$name"
device=$(device a "$name")
need "newfs" newfs -U "$device"
need "mount" mount_on "$device" "$work/mnt"
check "files are written" fill "$work/mnt"

for role in secondary init; do
	refused "role $role is refused while it is mounted" ctl a role "$role" "$name"
	says "the mount point is named" "mounted on $work/mnt"
	is "a is primary still" "$(role a "$name")" primary
done
check "the file system works" same "$work/mnt"
check "umount" umount "$work/mnt"

# A program that only has it open.
( exec 9< "$device" && sleep 600 ) &
holder=$!
echo "$holder" > "$work/holder.pid"
soon "a program has it open" mode_is "$device" "r1w0e0"
refused "role init is refused while it is open" ctl a role init "$name"
says "and the device is named" "$device"
kill_quietly "$holder"
soon "the program has closed it" mode_is "$device" "r0w0e0"
check "role init is obeyed then" ctl a role init "$name"
check "the device is gone" not test -e "$device"

check "a becomes primary again" ctl a role primary "$name"
soon "a is complete" is_complete a "$name"
need "mount" mount_on "$device" "$work/mnt"
check "the files are the same" same "$work/mnt"
check "--force takes it away" ctl a role --force init "$name"
check "the device is gone" not test -e "$device"
soon "and the file system with it" unmounted "$work/mnt"

check "b becomes primary" within 30 ctl b role primary "$name"
check "fsck repairs" fsck_ffs -y "$device"
need "mount on b" mount_on "$device" "$work/mnt"
check "the files are the same" same "$work/mnt"
check "umount" umount "$work/mnt"
finish
