#!/bin/sh
# newfs, mount, and failover by hand: planned, and after the primary has died.

. ./lib.sh
begin

# As if on two machines: the device of one that has died stays, in this one.
apart=yes
name=${mark}0
pair 48m "$name"
on_a=$(device a "$name")
on_b=$(device b "$name")

need "newfs" newfs -U "$on_a"
need "mount" mount_on "$on_a" "$work/mnt"
check "files are written" fill "$work/mnt"
check "umount" umount "$work/mnt"
check "fsck finds nothing on a" fsck_ffs -fn "$on_a"

check "a becomes secondary" ctl a role secondary "$name"
check "b becomes primary" ctl b role primary "$name"
check "fsck finds nothing on b" fsck_ffs -fn "$on_b"
need "mount on b" mount_on "$on_b" "$work/mnt"
check "the files are the same on b" same "$work/mnt"
soon "b is complete" is_complete b "$name"

check "back: umount" umount "$work/mnt"
check "b becomes secondary again" ctl b role secondary "$name"
check "a becomes primary again" ctl a role primary "$name"
need "mount on a again" mount_on "$on_a" "$work/mnt"
check "the files are the same on a" same "$work/mnt"
soon "a is complete" is_complete a "$name"

write_on "$work/mnt"
soon "files are written and acknowledged" acked_above 3
check "a dies with all its processes" die a
echo "# $(acked) files were acknowledged"
check "b becomes primary alone" within 30 ctl b role primary "$name"
check "fsck repairs what was under way" fsck_ffs -y "$on_b"
need "mount on b" mount_on "$on_b" "$work/failover"
check "the files are the same" same "$work/failover"
check "every file that was acknowledged is there" all_there "$work/failover"
check "b says that it is alone" test "$(status b "$name")" = degraded
check "b is written to alone" fill "$work/failover"

need "a is back" up a
check "what a had is given up" ctl a role --force init "$name"
check "its device is gone" not test -e "$on_a"
soon "its file system goes" unmounted "$work/mnt"
refused "and whoever wrote there got an error" write_end
check "a becomes secondary" ctl a role secondary "$name"
check "a is brought up to date" within 60 is_complete b "$name"
check "umount" umount "$work/failover"
check "b becomes secondary" ctl b role secondary "$name"
check "a becomes primary with what b has written" ctl a role primary "$name"
check "fsck finds nothing on a" fsck_ffs -fn "$on_a"
need "mount on a" mount_on "$on_a" "$work/mnt"
check "the files are the same on a" same "$work/mnt"
check "umount" umount "$work/mnt"
finish
