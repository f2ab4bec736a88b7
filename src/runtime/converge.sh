# Brings what is mounted and linked in line with what is committed; may be run any number of times.

verb_converge() {
  need_name "$1"
  check_store
  take_lock 10
  mkdir -p "$store/tx"
  find_current "$1"
  [ "$current" != 0 ] || die E_NO_CONTAINER "cannot converge $1: it has no generation"
  converge "$1" || exit 1
}

converge() {
  find_current "$1" && at=$current
  read_record "$1" "$at" || die E_STORE_DAMAGED "cannot read $store/c/$1/gen/$at: it is not whole"
  if [ "$gen_rootfs" = overlay ]; then
    mount_generation "$1" "$at" "$gen_stack" || die_of_mount
  fi
  link_bundle "$1" "$at"
  for older in "$store/c/$1"/bundle/*; do
    [ "${older##*/}" = "$at" ] || release "$1" "${older##*/}"
  done
}

# The options keep an image from steering the kernel; kernels that do not know one get the plain mount.
mount_generation() {
  [ "$(mounted "$1" "$2")" = no ] || return 0
  lower=
  for tree in $(trees_of "$3"); do lower=$store/tree/$tree/root${lower:+:$lower}; done
  layers=lowerdir=$lower,upperdir=$store/c/$1/up/$2/u,workdir=$store/c/$1/up/$2/w
  mount -t overlay -o "$layers,index=off,metacopy=off,redirect_dir=nofollow,xino=off,nodev" overlay "$store/c/$1/bundle/$2/rootfs" 2>"$store/tx/err" ||
    mount -t overlay -o "$layers,nodev" overlay "$store/c/$1/bundle/$2/rootfs" 2>"$store/tx/err"
}

# E_OVERLAY lets a client make a copy instead, which is no help where there is no space.
die_of_mount() {
  ! is_full && ! grep -q 'No space left' "$store/tx/err" || no_space 'mount the root filesystem'
  die E_OVERLAY "cannot mount the root filesystem: $(head -n 1 "$store/tx/err")"
}

check_bundle_link() {
  [ -e "$bundles" ] || mkdir -p "$bundles" 2>"$store/tx/err" || die_of "make $bundles"
  [ -L "$bundles/$name" ] || [ ! -e "$bundles/$name" ] || die E_CONFIG "cannot link $bundles/$name: something that is not varve's stands there"
  case $(readlink "$bundles/$name") in '' | "$store/c/$name/"*) ;; *) die E_CONFIG "cannot link $bundles/$name: it is a link to elsewhere" ;; esac
}

link_bundle() {
  [ "$(readlink "$bundles/$1")" != "$store/c/$1/bundle/$2" ] || return 0
  mkdir -p "$bundles" && ln -s "$store/c/$1/bundle/$2" "$bundles/.varve.$1.$$" && mv -T "$bundles/.varve.$1.$$" "$bundles/$1" && sync "$bundles" ||
    die E_IO "cannot link $bundles/$1"
}

# Unmounts an older generation once no process sees its upper any more; never lazily, which would hide a leak.
release() {
  [ "$(mounted "$1" "$2")" = yes ] && ! in_switch "$1" "$2" || return 0
  in_use "$1" "$2" || umount "$store/c/$1/bundle/$2/rootfs" 2>/dev/null || :
}

# A restart is under way, or was cut short, from or to this generation.
in_switch() {
  [ -e "$store/c/$1/switching" ] || return 1
  case " $(cut -d' ' -f1,3 "$store/c/$1/switching") " in *" $2 "*) ;; *) return 1 ;; esac
}

# A process has the generation's root filesystem as its root: a container runs on it. Mount namespaces that merely
# inherited the mount (services, other containers) do not count.
in_use() {
  cat /proc/[0-9]*/mountinfo 2>/dev/null | awk -v upper="upperdir=$store/c/$1/up/$2/u," -v own="/c/$1/bundle/$2/rootfs" '
    $5 == "/" && (index($0, upper) || substr($4, length($4) - length(own) + 1) == own) { found = 1 }
    END { exit !found }' && return 0
  for seen in /proc/[0-9]*/root /proc/[0-9]*/cwd; do
    case $(readlink "$seen" 2>/dev/null) in "$store/c/$1/bundle/$2/rootfs"*) return 0 ;; esac
  done
  return 1
}
