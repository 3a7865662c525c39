#!/bin/sh
# rc.d/hast: start, status, configtest, reload, restart under a mounted file system, stop.

# Functions are handed to others by name.
# shellcheck disable=SC2317

. ./lib.sh
begin
script=${HAST_RC:-/usr/local/etc/rc.d/hast}
[ -x "$script" ] || skip_all "there is no $script"
if grep -qs '^ *hastd\{0,1\}_' /etc/rc.conf /etc/rc.conf.local /etc/rc.conf.d/hast; then
	skip_all "hast is configured on this machine, and would be disturbed"
fi

# The service is the node a.
service_do()
{
	env hast_enable=YES hast_config="$conf" hast_node=a hast_pidfile="$work/a.pid" \
	    hast_hastctl="$HASTCTL" hast_program="$HASTD" hast_resources=all "$script" "$@" < /dev/null
}

name=${mark}0
device=$(device a "$name")
components 32m "$name"
configure "$name"
need "components are created on a" ctl a create "$name"
need "components are created on b" ctl b create "$name"
need "hastd runs on b" up b
need "b becomes secondary" ctl b role secondary "$name"

check "configtest" service_do configtest
refused "status says that it does not run" service_do status
need "start" service_do start
check "status" service_do status
says "the resource came up as secondary" "$name.*secondary"
check "a becomes primary" ctl a role primary "$name"
soon "a is complete" is_complete a "$name"
if [ -d /etc/syslog.d ] && service syslogd onestatus > /dev/null; then
	: > "$work/syslog"
	printf '!hastd\n*.*\t%s\n' "$work/syslog" > "/etc/syslog.d/$mark.conf"
	check "syslogd is restarted" service syslogd onerestart
	check "b leaves its role" ctl b role init "$name"
	check "b becomes secondary again" ctl b role secondary "$name"
	soon "what a's worker says of that is in the log" \
	    grep -q "hastd.*: \[$name\] (primary) connected to" "$work/syslog"
	soon "a is complete again" is_complete a "$name"
else
	skip "a worker's lines after syslogd was restarted" "syslogd does not run here"
fi
need "newfs" newfs -U "$device"
need "mount" mount_on "$device" "$work/mnt"
check "files are written" fill "$work/mnt"
write_on "$work/mnt"
soon "files are written and acknowledged" acked_above 3

main=$(main_pid a)
check "reload" service_do reload
is "it is the same process" "$(main_pid a)" "$main"
cp "$conf" "$work/good"
echo "nonsense" >> "$conf"
refused "configtest finds an error" service_do configtest
refused "reload does not send it on" service_do reload
refused "nor does restart end anything" service_do restart
is "it is the same process still" "$(main_pid a)" "$main"
cp "$work/good" "$conf"

check "restart under the file system" service_do restart
check "it is another process" test "$(main_pid a)" != "$main"
is "a is primary again" "$(role a "$name")" primary
before=$(acked)
soon "writing goes on" acked_above $((before + 3))
check "the writer saw no error" write_end
refused "stop is refused while it is mounted" service_do stop
says "the mount point is named" "$work/mnt"
check "the files are the same" same "$work/mnt"
check "every file that was acknowledged is there" all_there "$work/mnt"
check "umount" umount "$work/mnt"
check "fsck finds nothing" fsck_ffs -fn "$device"
check "stop" service_do stop
check "the device is gone" not test -e "$device"
refused "status says that it does not run" service_do status
finish
