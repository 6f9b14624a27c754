"""Writes the root file system of a small base image: `base_image.py BUSYBOX OUTPUT.tar`; `--check BUSYBOX` only looks.

BUSYBOX is a statically linked busybox; its applets become links in /bin. The same busybox gives the same bytes. Needs
the standard library only.
"""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

FOLDERS = {"bin": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755,
           "sys": 0o755, "tmp": 0o1777, "usr": 0o755, "usr/bin": 0o755, "usr/sbin": 0o755, "var": 0o755,
           "var/tmp": 0o1777, "sbin": 0o755}
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
                  "www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\ntty:x:5:\nwww-data:x:33:\nnogroup:x:65534:\n",
    "etc/hostname": "", "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n", "etc/resolv.conf": "",
    "etc/os-release": 'ID=busybox\nNAME="busybox"\nPRETTY_NAME="busybox"\n',
}


def entry(name: str, mode: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """An entry that belongs to root and has no time of its own."""
    member = tarfile.TarInfo(name)
    member.mode, member.type = mode, kind
    return member


def statically_linked(program: Path) -> bool:
    """Whether an ELF file asks for no interpreter (program header type 3, see elf(5)); our targets have 64 bits."""
    data = program.read_bytes()
    if data[:5] != b"\x7fELF\x02":
        return False
    start, size, count = (int.from_bytes(data[at:at + width], "little") for at, width in ((32, 8), (54, 2), (56, 2)))
    return all(int.from_bytes(data[at:at + 4], "little") != 3 for at in range(start, start + size * count, size))


def write(busybox: Path, output: Path) -> None:
    """Write the archive."""
    applets = subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(output, "w") as tar:
        for name, mode in FOLDERS.items():
            tar.addfile(entry(name, mode, tarfile.DIRTYPE))
        program = busybox.read_bytes()
        member = entry("bin/busybox", 0o755)
        member.size = len(program)
        tar.addfile(member, io.BytesIO(program))
        for applet in sorted(set(applets) - {"busybox"}):
            link = entry(f"bin/{applet}", 0o777, tarfile.SYMTYPE)
            link.linkname = "busybox"
            tar.addfile(link)
        for name, text in FILES.items():
            member = entry(name, 0o644)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))


def main() -> int:
    """Refuse a busybox that would look for libraries which the image does not hold."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: base_image.py BUSYBOX OUTPUT.tar | base_image.py --check BUSYBOX\n")
        return 2
    checking = sys.argv[1] == "--check"
    busybox = Path(sys.argv[2] if checking else sys.argv[1])
    if not statically_linked(busybox):
        sys.stderr.write(f"lading: {busybox} is not statically linked\n")
        return 1
    if not checking:
        write(busybox, Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
