#!/bin/sh
# SIGKILL for the primary's worker and for its main process, under a file system that is being
# written to: it pauses, and nothing is lost.

. ./lib.sh
begin

name=${mark}0
pair 48m "$name"
device=$(device a "$name")
need "newfs" newfs -U "$device"
need "mount" mount_on "$device" "$work/mnt"
check "files are written" fill "$work/mnt"
write_on "$work/mnt"
soon "files are written and acknowledged" acked_above 3

worker=$(worker_pid a "$name")
check "the worker is killed" kill -KILL "$worker"
soon "it is gone" gone "$worker"
check "the device stays" test -c "$device"
before=$(acked)
soon "writing goes on" acked_above $((before + 3))
check "a is primary again" test "$(role a "$name")" = primary
check "with another worker" test "$(worker_pid a "$name")" != "$worker"
soon "a is complete" is_complete a "$name"

check "all of hastd is killed" die a
check "the device stays" test -c "$device"
before=$(acked)
sleep 2
check "writing waits" not acked_above $((before + 1))
need "hastd is started" up a
check "a is told to be primary" ctl a role primary "$name"
soon "writing goes on" acked_above $((before + 3))
soon "a is complete" is_complete a "$name"

main=$(main_pid a)
check "only the main process is killed" kill -KILL "$main"
soon "it is gone" gone "$main"
rm -f "$work/a.pid"
check "the device stays" test -c "$device"
need "hastd is started" up a
before=$(acked)
check "a is told to be primary" within 10 ctl a role primary "$name"
soon "writing goes on" acked_above $((before + 3))

check "the writer saw no error" write_end
echo "# $(acked) files were acknowledged"
soon "a is complete" is_complete a "$name"
check "the files are the same" same "$work/mnt"
check "umount" umount "$work/mnt"
check "fsck finds nothing" fsck_ffs -fn "$device"
check "a becomes secondary" ctl a role secondary "$name"
check "b becomes primary" ctl b role primary "$name"
check "fsck finds nothing on b" fsck_ffs -fn "$device"
need "mount on b" mount_on "$device" "$work/mnt"
check "the files are the same on b" same "$work/mnt"
check "every file that was acknowledged is there" all_there "$work/mnt"
check "umount" umount "$work/mnt"
finish
