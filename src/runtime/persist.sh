# State: paths that outlive generations, filled once from the image; and what a container wrote besides, which goes with its generation.

# persist NAME STACK PATH...: each path gets a directory of its own below c/NAME/data, and is remembered.
# Its name there is flat, since a container may change all that lies in another one: /var/lib/x is data/var+lib+x.
verb_persist() {
  name=$1 stack=$2
  shift 2
  need_name "$name" && need_stack "$stack"
  open_store
  take_lock 60
  recover
  mkdir -p "$store/c/$name/data" || die E_IO "cannot make $store/c/$name/data"
  read_service "$name"
  for path; do
    is_persistable "$path" || die E_PERSIST "cannot persist a path: it is none"
    fill_data "$path"
    case $newline$svc_persist in *"$newline$path$newline"*) ;; *) svc_persist=$svc_persist$path$newline ;; esac
  done
  write_service "$name"
}

# unpersist NAME PATH...: from the next generation on; what is in its directory stays there.
verb_unpersist() {
  name=$1
  shift
  need_name "$name"
  check_store
  [ -d "$store/c/$name" ] || return 0
  take_lock 60
  recover
  read_service "$name"
  for path; do
    svc_persist=$(printf %s "$svc_persist" | grep -vxF -e "$path")
    svc_persist=${svc_persist:+$svc_persist$newline}
  done
  write_service "$name"
}

is_persistable() {
  case $1 in *[!A-Za-z0-9_./-]* | *//* | */ | */./* | */../* | */. | */..) return 1 ;; esac
  case $1 in /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) return 1 ;; /?*) ;; *) return 1 ;; esac
}

data_of() { printf '%s/c/%s/data/%s' "$store" "$name" "$(printf %s "${1#/}" | tr / +)"; }

# As an engine fills a volume: with what the image has there. What is copied is the trees, which no container can change.
fill_data() {
  data=$(data_of "$1")
  [ ! -d "$data" ] || return 0
  for tree in $(trees_of "$stack"); do need_whole "$tree"; done
  if is_id "$stack"; then
    image=$store/tree/$stack/root
  else
    image=$store/stage/image lower=
    for tree in $(trees_of "$stack"); do lower=$store/tree/$tree/root${lower:+:$lower}; done
    mkdir -p "$image"
    [ "$(stat -f -c %T "$image")" = overlayfs ] || mount -t overlay -o "ro,lowerdir=$lower" overlay "$image" 2>"$store/tx/err" || die_of_mount
  fi
  find_in_image "${1#/}"
  rm -rf "$data.new"
  if [ "$found" = none ]; then mkdir -m 0755 "$data.new"; else cp -a "$image/${1#/}" "$data.new"; fi 2>"$store/tx/err"
  filled=$?
  [ "$image" != "$store/stage/image" ] || umount "$image" || die_of 'unmount the image'
  [ "$filled" = 0 ] || {
    rm -rf "$data.new"
    die_of "fill $1"
  }
  flush "$data.new" && mv -T "$data.new" "$data" && sync "$store/c/$name/data" || die_of "fill $1"
}

# Sets found to directory or none; no part of the path is followed where it is a link.
find_in_image() {
  found=directory at=$image
  rest=$1/
  while [ -n "$rest" ]; do
    at=$at/${rest%%/*} rest=${rest#*/}
    if [ -L "$at" ]; then no_persist "$1" 'a symbolic link is on the way'; fi
    if [ ! -e "$at" ]; then
      found=none
      return 0
    fi
    [ -d "$at" ] || no_persist "$1" 'it is no directory in the image'
  done
}

no_persist() {
  [ "$image" != "$store/stage/image" ] || umount "$image"
  die E_PERSIST "cannot persist /$1: $2"
}

# need_persisted ACTION TEXT: a config.json that leaves out a persisted path would leave its data behind without a word.
# What the current one does not mount either is a push's that came to nothing.
need_persisted() {
  read_service "$name"
  mounts_now=$(cat "$store/c/$name/bundle/$expected/config.json" 2>/dev/null)
  for path in $svc_persist; do
    mount="\"$(data_of "$path")\""
    case $mounts_now in *"$mount"*) ;; *) continue ;; esac
    case $2 in *"$mount"*) ;; *) die E_PERSIST "cannot $1: its config.json does not mount the persisted $path" ;; esac
  done
}

# wrote NAME NUMBER: what the container wrote outside its persisted paths; it must not run any more. Directories do not
# count, nor what engines make to mount something there. "wrote FILES BYTES REMOVED", and a "wrote-name" for each of the first.
wrote() {
  upper=$store/c/$1/up/$2/u
  [ -d "$upper" ] || return 0
  read_config "$1" "$2" facts
  (
    cd "$upper" || exit
    find . ! -type d -print0 | xargs -0 stat -c '%F/%s/%t:%T/%n' -- 2>/dev/null
  ) | awk -v targets="$cfg_targets/etc/hostname$newline/etc/hosts$newline/etc/resolv.conf$newline/etc/mtab$newline/etc/localtime$newline/run/.containerenv" '
    BEGIN { n = split(targets, target, "\n"); for (i = 1; i <= n; i++) is_target["." target[i]] = 1 }
    {
      split($0, part, "/")
      name = substr($0, length(part[1] part[2] part[3]) + 4)
      if (part[1] == "character special file" && part[3] == "0:0") { removed++; next }
      if (part[1] !~ /file|link|fifo|socket/ || ((part[2] == 0 || part[1] ~ /link/) && name in is_target)) next
      files++
      bytes += part[1] ~ /^regular/ ? part[2] : 0
      if (files <= 1000) print substr(name, 3) > "/dev/stderr"
    }
    END { printf "wrote %d %.0f %d\n", files, bytes, removed }' 2>"$desk/names"
  LC_ALL=C sort "$desk/names" | head -n 10 | tr -c ' -~\n' '?' | sed 's/^/wrote-name /'
}

# carry NAME FROM TO: the next generation goes on with the writable layer of the one before. Both are stopped.
carry() {
  read_record "$1" "$3" || return 1
  [ "$(mounted "$1" "$3")" = no ] || umount "$store/c/$1/bundle/$3/rootfs" 2>"$desk/err" || return 1
  trash "$store/c/$1/up/$3"
  name=$1 number=$3 container=$store/c/$1 stack=$gen_stack
  mkdir "$store/c/$1/up/$3" "$store/c/$1/up/$3/w" && cp -a "$store/c/$1/up/$2/u" "$store/c/$1/up/$3/u" 2>"$desk/err" || return 1
  mount_generation "$1" "$3" "$gen_stack" 2>"$desk/err"
}
