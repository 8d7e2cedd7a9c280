#!/usr/bin/env bash
# Makes the base images that ordinary Dockerfiles name, under their public names, without any image registry: from
# packages of Debian 12, this machine's Go (golang) and this machine's Node (node).
#
#   images.sh cache [FAMILY…]   make the layers, once, in ~/.cache/pandu-test-images (or PANDU_TEST_IMAGES)
#   images.sh pack [FAMILY…]    write images to stdout, as docker load reads them
#   images.sh load [FAMILY…]    put images into the Docker Engine of DOCKER_HOST
#   images.sh list              list the families and their names
#
# A family is a directory beside this file: tags (the names), packages (of Debian), setup (run in the root file system
# while it is made), files (copied into it), config.json (the image's settings). Each has one layer over debian's. The
# layers' names are hashes of what they are made from, so that a change makes them anew. Needs root, debootstrap and,
# for what is not cached, the Debian archive.
set -euo pipefail
umask 022
unset CDPATH

here=$(cd "$(dirname "$0")" && pwd)
cache=${PANDU_TEST_IMAGES:-${XDG_CACHE_HOME:-$HOME/.cache}/pandu-test-images}
suite=bookworm
arch=$(dpkg --print-architecture)

say() { printf 'images: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

families() { (cd "$here" && for f in */tags; do dirname "$f"; done); }

# what a layer is made from, as a hash: its recipe, and the tool that it copies
key() {
  local family=$1
  {
    echo "$suite $arch"
    [ "$family" = debian ] || key debian
    case $family in
      golang) go env GOVERSION ;;
      node) node -v ;;
    esac
    cd "$here/$family" && find . -type f ! -name tags ! -name config.json | LC_ALL=C sort | xargs sha256sum
    sed -n '/^# --- making layers/,/^# --- end/p' "$here/images.sh"
  } | sha256sum | cut -c1-16
}

layer() { echo "$cache/$1-$(key "$1").tar"; }

# --- making layers
make_base() {
  local out=$1 root=$2
  command -v debootstrap >/dev/null || install_debootstrap
  debootstrap --variant=minbase --arch="$arch" "$suite" "$root" >&2
  cat >"$root/etc/dpkg/dpkg.cfg.d/slim" <<'SLIM'
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
SLIM
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod 755 "$root/usr/sbin/policy-rc.d"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info,locale,lintian}/* "$root"/var/log/*
  : >"$root/etc/resolv.conf"
  echo debian >"$root/etc/hostname"
  pack_root "$root" "$out"
}

# A layer is what the making changed over the base: the upper directory of an overlay.
make_layer() {
  local family=$1 out=$2 work=$3
  local root=$work/root
  mkdir -p "$work/lower" "$work/upper" "$work/overlay" "$root" "$cache/apt/lists" "$cache/apt/archives"
  tar -C "$work/lower" -xf "$(layer debian)"
  mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/overlay" "$root"
  if [ -s "$here/$family/packages" ]; then install_packages "$root" "$family"; fi
  [ ! -d "$here/$family/files" ] || cp -R "$here/$family/files/." "$root/"
  case $family in
    golang) copy_go "$root" ;;
    node) copy_node "$root" ;;
  esac
  [ ! -f "$here/$family/setup" ] || chroot "$root" /bin/sh -eu <"$here/$family/setup" >&2
  umount "$root"
  rm -rf "$work"/upper/var/log/* "$work"/upper/var/cache/* "$work"/upper/tmp/* "$work"/upper/root/.[a-z]*
  pack_root "$work/upper" "$out"
}

install_packages() {
  local root=$1 family=$2
  mount --bind "$cache/apt/lists" "$root/var/lib/apt/lists"
  mount --bind "$cache/apt/archives" "$root/var/cache/apt/archives"
  mount -t proc proc "$root/proc"
  mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
  mkdir -p "$cache/apt/archives/partial" "$cache/apt/lists/partial"
  local apt=(chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -qq -o APT::Sandbox::User=root -o Binary::apt-get::APT::Keep-Downloaded-Packages=true)
  if [ -z "$(find "$cache/apt/lists" -name '*Packages*' -mmin -720)" ]; then "${apt[@]}" update >&2; fi
  # shellcheck disable=SC2046
  "${apt[@]}" install -y --no-install-recommends $(cat "$here/$family/packages") >&2
  umount "$root/etc/resolv.conf" "$root/proc" "$root/var/cache/apt/archives" "$root/var/lib/apt/lists"
}

copy_go() {
  local from
  from=$(go env GOROOT)
  mkdir -p "$1/usr/local/go" "$1/go"
  tar -C "$from" --exclude=./test --exclude=./api --exclude=./doc --exclude=./misc --exclude='*_test.go' --exclude=testdata -chf - . | tar -C "$1/usr/local/go" --no-same-owner -xf -
}

copy_node() {
  local modules
  modules=$(npm root -g)
  mkdir -p "$1/usr/local/bin" "$1/usr/local/lib/node_modules"
  install -m 755 "$(node -p process.execPath)" "$1/usr/local/bin/node"
  tar -C "$modules" --exclude=docs --exclude=man --exclude='*.md' -cf - npm | tar -C "$1/usr/local/lib/node_modules" --no-same-owner -xf -
}

# Overlays mark what was deleted by character devices; nothing that matters is deleted, so they are left out.
pack_root() {
  local root=$1 out=$2
  (cd "$root" && find . -mindepth 1 -xdev \( -type c ! -path './dev/*' \) -prune -o -print0 | LC_ALL=C sort -z) |
    tar -C "$root" --null --no-recursion --numeric-owner --sort=none -T - -cf "$out.part"
  mv "$out.part" "$out"
}

install_debootstrap() {
  say "installing debootstrap"
  apt-get -qq update >&2 && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends debootstrap debian-archive-keyring >&2
}
# --- end

ensure_layer() {
  local family=$1 out work started
  [ "$family" = debian ] || ensure_layer debian
  out=$(layer "$family")
  if [ -f "$out" ]; then return; fi
  [ "$(id -u)" = 0 ] || fail "making $family needs root: run it with sudo"
  started=$SECONDS
  say "making $family (kept in $cache)"
  rm -f "$cache/$family"-*.tar "$cache/$family"-*.tar.id "$cache/$family"-*.tar.part
  work=$(mktemp -d "$cache/work.XXXXXX")
  # Mounts of its own, so that nothing stays mounted when the making ends early.
  if ! unshare --mount "$BASH" "$0" make "$family" "$out" "$work"; then
    rm -rf "$work"
    fail "making $family failed"
  fi
  rm -rf "$work"
  say "made $family in $((SECONDS - started)) s: $(du -h "$out" | cut -f1)"
}

digest() {
  local out=$1
  [ -f "$out.id" ] || sha256sum <"$out" | cut -d' ' -f1 >"$out.id"
  cat "$out.id"
}

quoted() { sed 's/.*/"&"/' | paste -sd,; }

# One image in the form of docker save: a manifest, a settings file, layers. Layers stay where they are: links.
write_image() {
  local family=$1 dir=$2 base own layers
  base=$(digest "$(layer debian)")
  ln -sf "$(layer debian)" "$dir/$base.tar"
  layers=$base
  if [ "$family" != debian ]; then
    own=$(digest "$(layer "$family")")
    ln -sf "$(layer "$family")" "$dir/$own.tar"
    layers="$base
$own"
  fi
  cat >"$dir/config" <<JSON
{"architecture":"$arch","os":"linux","created":"2026-01-01T00:00:00Z","config":$(cat "$here/$family/config.json"),
"rootfs":{"type":"layers","diff_ids":[$(sed 's/^/sha256:/' <<<"$layers" | quoted)]},
"history":[$(sed 's/.*/{"created":"2026-01-01T00:00:00Z","created_by":"tests\/images"}/' <<<"$layers" | paste -sd,)]}
JSON
  local name
  name=$(sha256sum <"$dir/config" | cut -d' ' -f1)
  mv "$dir/config" "$dir/$name.json"
  printf '{"Config":"%s.json","RepoTags":[%s],"Layers":[%s]}\n' "$name" "$(quoted <"$here/$family/tags")" "$(sed 's/$/.tar/' <<<"$layers" | quoted)"
}

pack() {
  local dir family
  dir=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$dir'" EXIT
  for family in "$@"; do write_image "$family" "$dir"; done | paste -sd, | sed 's/.*/[&]/' >"$dir/manifest.json"
  tar -C "$dir" -chf - .
}

main() {
  local verb=${1:-}
  shift || true
  if [ "$verb" = make ]; then
    if [ "$1" = debian ]; then mkdir "$3/root" && make_base "$2" "$3/root"; else make_layer "$@"; fi
    return
  fi
  local chosen=("$@")
  [ ${#chosen[@]} -gt 0 ] || mapfile -t chosen < <(families)
  local f
  for f in "${chosen[@]}"; do [ -f "$here/$f/tags" ] || fail "there is no family $f, only: $(families | paste -sd' ')"; done
  if [ "$verb" = list ]; then
    for f in "${chosen[@]}"; do echo "$f: $(paste -sd' ' "$here/$f/tags")"; done
    return
  fi
  case $verb in cache | pack | load) ;; *) fail "usage: $0 cache|pack|load|list [FAMILY…]" ;; esac
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  for f in "${chosen[@]}"; do ensure_layer "$f"; done
  case $verb in
    pack) pack "${chosen[@]}" ;;
    load) pack "${chosen[@]}" | docker load >&2 ;;
  esac
}

main "$@"
