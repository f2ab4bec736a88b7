# After a reboot: all that is current is mounted again, and what is marked for it is started, by a copy of this runtime.

# boot start|stop: one container that fails does not keep the others down.
verb_boot() {
  case $1 in start | stop) ;; *) die E_PROTO 'cannot boot: it is neither start nor stop' ;; esac
  check_store
  [ -e "$store/format" ] || return 0
  lame=
  for known in "$store"/c/*; do
    known=${known##*/}
    is_name "$known" && [ -e "$store/c/$known/current" ] || continue
    said=$("boot_$1" "$known") || said="$said${newline}die E_BUG the runtime failed"
    why=$(printf '%s\n' "$said" | sed -n 's/^die E_[A-Z_]* //p; s/^failed [0-9]* [0-9]* [a-z]* //p' | head -n 1)
    [ -z "$why" ] || {
      printf '%s: %s\n' "$known" "$why"
      lame="$lame $known"
    }
  done
  [ -z "$lame" ] || exit 1
}

boot_start() {
  (verb_converge "$1") || return 1
  read_service "$1"
  [ "$svc_boot" = no ] || (verb_run "$1" start 0 - - - none 1 fresh)
}

# What was wanted is wanted still.
boot_stop() {
  take_own_lock "$1" 60
  read_service "$1"
  read_started "$1"
  [ "$alive" = no ] || stop_running "$1" "$svc_stop"
}

# Writes what a boot runs, where any container is marked for it, and says how it is run there.
mark_boot() {
  [ "$svc_boot" = yes ] && [ -n "${runtime_text-}" ] || return 0
  script=$store/boot.sh
  if [ "$(sed -n 's/^# runtime //p' "$script" 2>/dev/null | head -n 1)" != "$runtime_id $bundles" ]; then
    printf '#!/bin/sh\n# Mounts and starts the containers of this store that are marked for it. usage: boot.sh start|stop\n# runtime %s %s\nset -- / 0 %s %s boot "$1"\n%s' \
      "$runtime_id" "$bundles" "$store" "$bundles" "$runtime_text" | put "$script" || die_of 'write what a boot runs'
  fi
  if [ ! -d /run/systemd/system ]; then
    printf 'boot line sh %s start\n' "$script"
    return 0
  fi
  unit=varve.service
  [ "$store" = /var/lib/varve ] || unit=varve-$(printf %s "$store" | sha256sum | cut -c1-8).service
  text="# written by varve
[Unit]
Description=Containers of $store
RequiresMountsFor=$store $bundles
After=local-fs.target network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh $script start
ExecStop=/bin/sh $script stop
TimeoutStartSec=infinity
[Install]
WantedBy=multi-user.target"
  if [ "$(cat "/etc/systemd/system/$unit" 2>/dev/null)" != "$text" ]; then
    printf '%s\n' "$text" | (umask 022 && put "/etc/systemd/system/$unit") && ask_engine systemctl daemon-reload >/dev/null 2>&1 || die E_IO "cannot write /etc/systemd/system/$unit"
  fi
  ask_engine systemctl enable --quiet "$unit" >/dev/null 2>&1 || die E_IO "cannot enable $unit"
  printf 'boot unit %s\n' "$unit"
}
