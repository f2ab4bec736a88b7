#!/bin/bash
# make-images.sh — makes one image of more than 20 layers with buildah and umoci, in every form that varve reads.
#
# usage: make-images.sh DIRECTORY    an empty one, on a file system that takes overlay's upper directories; needs root
# Leaves oci (gzip), oci-zstd, oci.tar, docker.tar, a two-platform index in multi, and what umoci unpacks in bundle/rootfs.
set -euo pipefail
cd "$1"
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=overlay LC_ALL=C

store() { # TOOL ARGUMENT...: none of the machine's own images, none of its configuration
	local tool=$1
	shift
	"$tool" --root "$PWD/root" --runroot "$PWD/run" --storage-driver overlay "$@"
}

layer() { # FUNCTION: one more layer over the image `app`, of what the function does in the root filesystem
	local container
	container=$(store buildah from "$base")
	(cd "$(store buildah mount "$container")" && "$1")
	store buildah config --created-by "layer $1" "$container"
	store buildah commit -q "$container" app >/dev/null
	store buildah rm "$container" >/dev/null
	base=app
}

first() {
	mkdir -p etc usr/bin usr/lib opaque/deep again turns lib/sub
	for file in etc/passwd opaque/old opaque/deep/old again/old lib/sub/x turns/f; do echo "$file" >"$file"; done
	install -m 4755 /bin/true usr/bin/setuid
	install -m 755 /bin/true usr/bin/capable
	setcap cap_net_raw+ep usr/bin/capable
	install -m 2711 -o 7 -g 8 /bin/true usr/bin/setgid
	echo linked >usr/lib/a; ln usr/lib/a usr/lib/b; ln usr/lib/a usr/lib/c
	mkfifo fifo; mknod null c 1 3; mknod disk b 8 1
	ln -s /etc/passwd link; ln -s gone dangling
	setfattr -n user.note -v hello etc/passwd
	touch -d @1 old; touch -d '1999-12-31 23:59:59.123456789' fine
	echo raw >"$(printf 'raw\377name')"
	chmod 1777 opaque
}
opaque_directory() { rm -r opaque; mkdir opaque; echo new >opaque/new; }
whiteouts() { rm -r again lib/sub/x fifo; }
directory_again() { mkdir -m 700 again; echo new >again/new; }
link_across() { ln usr/lib/a usr/lib/d; }
one_of_the_links() { echo changed >usr/lib/e; mv usr/lib/e usr/lib/b; }
directory_for_file() { rm etc/passwd; mkdir etc/passwd; echo x >etc/passwd/x; }
file_for_directory() { rm -r turns; echo file >turns; }
file_again() { rm -r etc/passwd; echo passwd >etc/passwd; }
directory_back() { rm turns; mkdir turns; echo g >turns/g; }
modes() { chmod 755 usr/bin/setgid; chown -h 5:6 link; setcap cap_chown+p usr/bin/capable; }
fifo_for_file() { rm old; mkfifo old; rm null; echo null >null; }
symlink_for_directory() { mv lib moved; ln -s moved lib; }

base=scratch
for each in first opaque_directory whiteouts directory_again link_across one_of_the_links directory_for_file \
	file_for_directory file_again directory_back modes fifo_for_file symlink_for_directory; do
	layer "$each"
done
store buildah push -q app "oci:$PWD/oci:app"

# Layers that no engine's diff makes: opaque marks and whiteouts by name, parents left out, links to layers below.
mkdir new; echo inserted >new/file
umoci insert --image oci:app --opaque new /usr/lib
umoci insert --image oci:app --whiteout /moved/sub
for number in 1 2 3; do
	echo "$number" >new/file
	umoci insert --image oci:app new "/many/$number"
done
mkdir -p made/etc made/deep/er; echo deep >made/deep/er/file; echo twin >made/etc/twin; ln made/etc/twin made/etc/other
tar --create --file=parts.tar -C made deep/er/file etc/twin etc/other
umoci raw add-layer --image oci:app parts.tar
# both names of the link are in the archive, and the one that has the contents is then taken out of it
mkdir linked; mkdir linked/opaque; echo new >linked/opaque/new; ln linked/opaque/new linked/hard
tar --create --file=links.tar -C linked opaque/new hard
tar --delete --file=links.tar opaque/new
umoci raw add-layer --image oci:app links.tar
umoci unpack --image oci:app bundle

skopeo --insecure-policy copy -q oci:oci:app oci-archive:oci.tar:app
skopeo --insecure-policy copy -q oci:oci:app docker-archive:docker.tar:example.org/app:1
skopeo --insecure-policy copy -q --dest-compress-format zstd --dest-compress-level 3 oci:oci:app oci:oci-zstd:app

# Two images that differ by platform, in one index.
for arch in amd64 arm64; do
	container=$(store buildah from scratch)
	echo "$arch" >arch
	store buildah copy -q "$container" arch /arch >/dev/null
	store buildah config --arch "$arch" "$container"
	store buildah commit -q "$container" "multi-$arch" >/dev/null
	store buildah rm "$container" >/dev/null
done
store buildah manifest create multi >/dev/null
store buildah manifest add --arch amd64 multi "containers-storage:localhost/multi-amd64" >/dev/null
store buildah manifest add --arch arm64 multi "containers-storage:localhost/multi-arm64" >/dev/null
store buildah manifest push -q --all multi "oci:$PWD/multi:app"
