#!/bin/sh
# A device that is served over NBD: workers give up privileges all the same, and the socket goes with the role.

# Functions are handed to others by name.
# shellcheck disable=SC2317

. ./lib.sh
begin
[ -x /usr/bin/nc ] || skip_all "there is no nc(1)"

# The handshake of a client that takes the only export, then requests of 4 KiB at the device's begin.
hello()
{
	printf '\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0\0'
}

# request TYPE LENGTH, both in octal escapes.
request()
{
	# shellcheck disable=SC2059 # %b writes no zeros
	printf "\045\140\225\023\0\0\0$1hasttest\0\0\0\0\0\0\0\0$2"
}

# to NODE: its device's server gets standard input, and what it says goes to standard output.
to()
{
	case $1 in
	a) timeout $((20 * HAST_SLOW)) nc -U "$work/a.nbd" ;;
	b) timeout $((20 * HAST_SLOW)) nc 127.0.0.1 "$((HAST_PORT + 2))" ;;
	esac
}

put()
{
	{
		hello
		request '\1' '\0\0\020\0'
		cat "$work/block"
		request '\3' '\0\0\0\0'
		request '\2' '\0\0\0\0'
	} | to "$1" > "$work/answer" &&
	# Greeting, size and flags, two answers.
	[ "$(wc -c < "$work/answer")" -eq $((18 + 10 + 16 + 16)) ]
}

# What is read is what was put.
got()
{
	{
		hello
		request '\0' '\0\0\020\0'
		request '\2' '\0\0\0\0'
	} | to "$1" | tail -c +$((18 + 10 + 16 + 1)) | cmp - "$work/block"
}

confined()
{
	_worker=$(worker_pid "$1" "$name")
	is "the worker of the primary $1 is the user hast" "$(ps -o user= -p "$_worker")" hast
	check "it is in a jail" test "$(ps -o jid= -p "$_worker")" -gt 0
	check "it is in capability mode" capability_mode "$_worker"
}

name=${mark}0
nbd=yes
pair 32m "$name"
check "there is a socket" test -S "$work/a.nbd"
check "there is no device of GEOM's" not test -e "$(device a "$name")"
confined a
dd if=/dev/random of="$work/block" bs=4096 count=1 2> /dev/null
check "it is written to" put a
check "and read" got a
_clients=
for _client in 1 2 3; do
	got a &
	_clients="$_clients $!"
done
for _client in $_clients; do
	check "by several at a time" wait "$_client"
done

worker=$(worker_pid a "$name")
kill -KILL "$worker"
soon "another worker follows one that died" sh -c \
    "'$HASTCTL' list -c '$conf' -n a '$name' | grep -q 'workerpid: [1-9]' && ! kill -0 '$worker'"
soon "and serves what was there" got a

check "a becomes secondary" ctl a role secondary "$name"
check "its socket is gone" not test -e "$work/a.nbd"
check "b becomes primary, over TCP" ctl b role primary "$name"
confined b
check "it is read" got b
dd if=/dev/random of="$work/block" bs=4096 count=1 2> /dev/null
check "and written to" put b
check "it has what was written" got b
soon "both copies are the same" is_complete b "$name"
check "b is init" ctl b role init "$name"
check "nobody answers any more" not got b
finish
