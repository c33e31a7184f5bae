#!/bin/bash
# Fetches asmjit's source from Debian's archive into a folder and unpacks it there: fetch_asmjit.sh FOLDER
#
# What was fetched is kept in the user's cache folder too, so that the next clone needs no network.
# apt works on private copies of its settings below FOLDER, made from the machine's own sources with source packages
# switched on, so it needs no root and changes nothing in /etc or /var.
set -euo pipefail

readonly version="0.0~git20221210.5b5b0b3"
readonly debian_revision=1
readonly tarball="asmjit_${version}.orig.tar.xz"
readonly sha256="c05b9b913f3be6f22d1452cfa6a7f87372090242cc9526685d02880277b7641f"

folder=$(mkdir -p "$1" && cd "$1" && pwd)
apt="$folder/apt"
cached="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/bareflow/$tarball"

say() { echo "fetch_asmjit: $*" >&2; }

matches() { [[ -f $1 ]] && echo "$sha256  $1" | sha256sum --check --status; }

# The machine's package sources with `deb` turned into `deb-src`: one-line files and deb822 files alike.
copy_sources() {
    mkdir -p "$apt/sources" "$apt/state/lists/partial" "$apt/cache/archives/partial"
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ -f $file ]] || continue
        sed -nE 's/^[[:space:]]*deb(-src)?[[:space:]]/deb-src /p' "$file" > "$apt/sources/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ -f $file ]] || continue
        sed -E 's/^Types:.*/Types: deb-src/' "$file" > "$apt/sources/$(basename "$file")"
    done
}

apt_get() {
    local options=(-q -o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$apt/sources"
                   -o "Dir::State=$apt/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$apt/cache"
                   -o "Acquire::Languages=none" -o "Debug::NoLocking=true")
    [[ $(id -u) -ne 0 ]] || options+=(-o "APT::Sandbox::User=root")
    apt-get "${options[@]}" "$@"
}

if ! matches "$folder/$tarball" && matches "$cached"; then
    cp "$cached" "$folder/$tarball"
fi
if ! matches "$folder/$tarball"; then
    say "fetching asmjit $version-$debian_revision from Debian's archive into $folder"
    copy_sources
    apt_get update >&2 || say "some package sources could not be read; trying with the others"
    (cd "$folder" && apt_get source --download-only "asmjit=$version-$debian_revision") >&2 || {
        say "apt could not fetch it. Put $tarball, from Debian's archive (source package asmjit), into" \
            "$folder and try again."
        exit 1
    }
    rm -rf "$apt"
    matches "$folder/$tarball" || {
        say "$folder/$tarball is not the expected file (SHA-256 $sha256). Delete it and try again."
        exit 1
    }
fi
# A cache that cannot be written is no reason to stop.
if ! matches "$cached"; then
    { mkdir -p "$(dirname "$cached")" && cp "$folder/$tarball" "$cached"; } 2>/dev/null || true
fi

rm -rf "$folder/source.new" "$folder/source"
mkdir "$folder/source.new"
tar -xf "$folder/$tarball" -C "$folder/source.new" --strip-components=1
mv "$folder/source.new" "$folder/source"
