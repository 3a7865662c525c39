#!/bin/sh
# Stands in for each of the programs that the agent runs, by the name it is called by: does to files in the node's
# folder what they do to a machine. Whatever is asked of it is recorded in `calls`.
#
# A file in `faults`, named like the beginning of a call, says what goes wrong: `fail`, `hang`, or `hold`, which
# does it once the file is gone.
me=$(basename "$0")
here=$(cd "$(dirname "$0")/.." && pwd)
state=$here/machine
echo "$me $*" >> "$here/calls"

for call in "$me $1" "$me $1 $2" "$me $1 $2 $3"; do
    fault=$here/faults/$call
    [ -f "$fault" ] || continue
    case $(cat "$fault") in
    fail) echo "it fails on demand" >&2; exit 1 ;;
    hang) exec sleep 1000 ;;
    hold) while [ -f "$fault" ]; do sleep 0.02; done ;;
    esac
done

# The pool's last word, as ZFS's own: what two nodes import at one time is lost.
pool_of_all=$here/../pool.

case $me in
zpool)
    command=$1
    for pool; do :; done
    case $command in
    list)
        [ -e "$state/pool.$pool" ] && { echo "$pool"; exit 0; }
        echo "cannot open '$pool': no such pool" >&2
        exit 1 ;;
    import)
        # Who was there last, and has not exported it.
        last=$(cat "$here/../host.$pool" 2>/dev/null)
        case " $* " in
        *" -f "*) ;;
        *)
            if [ "${last:-$here}" != "$here" ]; then
                echo "cannot import '$pool': pool was previously in use from another system." >&2
                exit 1
            fi ;;
        esac
        echo "$here" > "$here/../host.$pool"
        mkdir "$pool_of_all$pool" 2>/dev/null || echo "$here imports $pool" >> "$here/../twice"
        : > "$state/pool.$pool" ;;
    export)
        rmdir "$pool_of_all$pool"
        rm -f "$here/../host.$pool"
        rm "$state/pool.$pool" ;;
    esac ;;
mount)
    [ "$1" = -p ] && exec cat "$state/mounts"
    [ "$1" = -o ] && shift 2
    echo "$1	$2	ufs	rw	2 2" >> "$state/mounts" ;;
umount)
    for path; do :; done
    grep -v "	$path	" "$state/mounts" > "$state/mounts.new"
    mv "$state/mounts.new" "$state/mounts" ;;
service)
    case $2 in
    onestatus)
        [ -e "$state/service.$1" ] && { echo "$1 is running as pid 7."; exit 0; }
        echo "$1 is not running."
        exit 1 ;;
    onestart) : > "$state/service.$1" ;;
    onestop) rm "$state/service.$1" ;;
    esac ;;
ifconfig)
    if [ "$4" = state ]; then
        word=$(echo "$5" | tr a-z A-Z)
        echo "$word" > "$state/carp"
        "$here/devd" 1@em0 "$word" &
        # What CARP does by itself, where the test wants it.
        if [ -e "$here/../address-moves" ]; then
            [ "$word" = MASTER ] && word=BACKUP || word=MASTER
            other=$(cat "$here/other")
            echo "$word" > "$other/machine/carp"
            "$other/devd" 1@em0 "$word" &
        fi
    else
        printf '%s: flags=8943<UP> mtu 1500\n\tinet 10.0.0.9 netmask 0xffffffff vhid 1\n' "$1"
        printf '\tcarp: %s vhid 1 advbase 1 advskew 0\n' "$(cat "$state/carp")"
    fi ;;
sysctl)
    case $2$1 in
    net.inet.carp.demotion-n) cat "$state/demotion" ;;
    net.inet.carp.preempt-n) echo 1 ;;
    net.inet.carp.demotion=*)
        echo $(($(cat "$state/demotion") + ${1#*=})) > "$state/demotion" ;;
    esac ;;
fence)
    exit "$(cat "$here/fence")" ;;
esac
exit 0
