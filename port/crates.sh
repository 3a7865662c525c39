#!/bin/sh
# Writes Makefile.crates, and what is known of the crates in distinfo, from Cargo.lock.
# With -n prints Makefile.crates only. Sizes are those of the files in cargo's cache.
set -eu

cd "$(dirname "$0")"

# A line for each crate of the registry: its name with the version, and its SHA256.
crates()
{
    awk -F '"' '
        /^name = /     { name = $2 }
        /^version = /  { version = $2 }
        /^checksum = / { print name "-" version, $2 }
    ' ../Cargo.lock | LC_ALL=C sort
}

makefile_crates()
{
    crates | awk '
        NR == 1 { printf "CARGO_CRATES=\t%s", $1; next }
        { printf " \\\n\t\t%s", $1 }
        END { print "" }
    '
}

size()
{
    for file in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$1.crate"; do
        if [ -f "$file" ]; then
            wc -c < "$file" | tr -d ' '
            return
        fi
    done
    echo "$1.crate is not in cargo's cache: run 'cargo fetch' first" >&2
    return 1
}

distinfo()
{
    echo "TIMESTAMP = $(git log -1 --format=%ct -- ../Cargo.lock)"
    crates | while read -r crate sum; do
        size=$(size "$crate")
        echo "SHA256 (rust/crates/$crate.crate) = $sum"
        echo "SIZE (rust/crates/$crate.crate) = $size"
    done
}

if [ "${1:-}" = -n ]; then
    makefile_crates
else
    distinfo > distinfo.new
    mv distinfo.new distinfo
    makefile_crates > Makefile.crates
fi
