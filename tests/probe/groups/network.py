"""The network: none, or a loopback that leads nowhere else."""

import os
import socket
import struct


from harness import Want, exists, in_child, read

OUTSIDE = {
    "gateway-guess": ("192.168.0.1", 80), "private-10": ("10.0.0.1", 22), "private-172": ("172.17.0.1", 2375), "metadata": ("169.254.169.254", 80),
    "documentation": ("192.0.2.1", 443), "dns": ("8.8.8.8", 53), "broadcast": ("255.255.255.255", 9), "any-multicast": ("224.0.0.1", 5353),
}
NOWHERE = "ENETUNREACH|EACCES|EPERM|EAFNOSUPPORT|EADDRNOTAVAIL|EHOSTUNREACH"


def run(probe, context):
    check = probe.check
    if context.strict:
        check("no-socket", "EAFNOSUPPORT|EPERM|EACCES", lambda: socket.socket().close() or "ok", "no network in the smallest profile")
    else:
        interfaces(check, context)
        outside(check, context)
        loopback(check, context)
    names(check, context)
    local(check, context)


def interfaces(check, context):
    check("interfaces", "[\"lo\"]", lambda: [n for _, n in socket.if_nameindex()], "the loopback, up or down, and nothing else")
    # IFF_UP is 1; read through the legacy ioctl, as ifconfig does.
    check("loopback-up", "1" if context.loopback else "0", loopback_flag, "up when it was asked for")
    for protocol, rows in (("route", "0|1"), ("ipv6_route", None), ("arp", 1), ("tcp", 1), ("udp", 1), ("raw", 1), ("unix", None), ("packet", 1), ("netlink", None)):
        path = f"/proc/net/{protocol}"
        if rows is not None and os.path.exists(path):
            check(f"table-{protocol}", str(rows), lambda p=path: str(len(read(p).splitlines())), "only its heading: no state of the host")
    check("table-dev", "[\"lo\"]", lambda: [l.split(":")[0].strip() for l in read("/proc/net/dev").splitlines()[2:]], "no card of the host")
    check("table-if_inet6", "true", lambda: all(l.endswith(" lo") for l in read("/proc/net/if_inet6").splitlines()), "no address of the host")
    check("table-unix-host", "true", lambda: not any(w in read("/proc/net/unix") for w in ("dbus", "systemd", "docker", "containerd", "X11", "fetchml")), "no socket of the host")
    check("mac", "00:00:00:00:00:00", mac_address, "no address that tells the machine")
    check("forwarding-set", "EROFS|EACCES|EPERM", lambda: open("/proc/sys/net/ipv4/ip_forward", "w").close() or "ok", "settings are read-only")
    check("ping", "EPERM|EACCES|EAFNOSUPPORT", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).close() or "ok", "no ICMP")


def loopback_flag():
    import fcntl
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        answer = fcntl.ioctl(s, 0x8913, struct.pack("16sH", b"lo", 0) + bytes(14))
        return str(struct.unpack_from("H", answer, 16)[0] & 1)


def mac_address():
    import fcntl
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        answer = fcntl.ioctl(s, 0x8927, struct.pack("16s", b"lo") + bytes(24))
        return ":".join(f"{b:02x}" for b in answer[18:24])


def connected(address, kind=socket.SOCK_STREAM, family=socket.AF_INET):
    with socket.socket(family, kind) as s:
        s.settimeout(2)
        s.connect(address)
        if kind == socket.SOCK_DGRAM:
            s.send(b"x")
        return "ok"


def outside(check, context):
    for name, address in OUTSIDE.items():
        check(f"tcp-{name}", NOWHERE, lambda a=address: connected(a), "nothing beyond the machine, nor the machine, is reached")
        check(f"udp-{name}", NOWHERE, lambda a=address: connected(a, socket.SOCK_DGRAM), "the same by UDP")
    for name, address in {"documentation": "2001:db8::1", "link-local": "fe80::1", "all-nodes": "ff02::1"}.items():
        check(f"tcp6-{name}", NOWHERE + "|EINVAL", lambda a=address: connected((a, 80, 0, 0), family=socket.AF_INET6), "nor by IPv6")
        check(f"udp6-{name}", NOWHERE + "|EINVAL", lambda a=address: connected((a, 80, 0, 0), socket.SOCK_DGRAM, socket.AF_INET6), "nor by IPv6")
    for number, address in enumerate(context.host.get("addresses", [])):
        check(f"tcp-host-{number}", NOWHERE, lambda a=address: connected((a, 22)), "an address of the host itself")
    if "port" in context.host:
        check("tcp-host-listener", NOWHERE + "|ECONNREFUSED", lambda: connected(("127.0.0.1", context.host["port"])),
              "what listens on the host's loopback is not on the job's")


def loopback(check, context):
    if not context.loopback:
        check("loopback-tcp", NOWHERE, tcp_round, "without a network there is none, not even to itself")
        check("loopback-udp", NOWHERE, udp_round, "the same by UDP")
        check("bind-tcp", "EACCES|EPERM|EADDRNOTAVAIL|ok", lambda: bound("127.0.0.1", socket.SOCK_STREAM), "a port that nobody can reach")
        return
    check("loopback-tcp", "ok", tcp_round, "torch.distributed, tracking servers")
    check("loopback-udp", "ok", udp_round, "statsd and kin")
    check("loopback-tcp6", "ok|EADDRNOTAVAIL|EAFNOSUPPORT", lambda: tcp_round("::1", socket.AF_INET6), "::1, where the kernel has IPv6")
    check("loopback-name", "ok", lambda: tcp_round("localhost"), "localhost resolves")
    check("loopback-127.0.0.2", "ok", lambda: tcp_round("127.0.0.2"), "the whole of 127.0.0.0/8")
    check("loopback-any", "ok", lambda: bound("0.0.0.0", socket.SOCK_STREAM), "servers bind to every address")
    check("port-80", "EACCES|EPERM", lambda: bound("127.0.0.1", socket.SOCK_STREAM, 80), "low ports need a capability")
    check("own-name", "ok", lambda: tcp_round(socket.gethostname()), "gloo, dask and MPI resolve their own host name")
    check("raw-device", "EPERM|ENOPROTOOPT|ENODEV|ok", bind_device, "binding to a device gains nothing: there is one")
    check("transparent", "EPERM", lambda: option(0, 19), "IP_TRANSPARENT needs a capability")
    check("mark", "EPERM", lambda: option(1, 36), "SO_MARK needs a capability")
    check("freebind-host", "ok|EADDRNOTAVAIL", lambda: bound("127.0.0.1", socket.SOCK_DGRAM), "own ports")
    check("http-server", "ok", http_round, "a tracking server and its client")
    check("reuse-port", "ok", lambda: option(1, 15), "SO_REUSEPORT for workers")
    check("tcp-nodelay", "ok", lambda: option(6, 1), "TCP_NODELAY for collectives")


def tcp_round(address="127.0.0.1", family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.settimeout(5)
        server.bind((address, 0))
        server.listen()
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(server.getsockname())
            peer, _ = server.accept()
            with peer:
                client.sendall(b"ping")
                return "ok" if peer.recv(4) == b"ping" else "lost"


def udp_round():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two:
        one.settimeout(5)
        one.bind(("127.0.0.1", 0))
        two.sendto(b"ping", one.getsockname())
        return "ok" if one.recv(4) == b"ping" else "lost"


def http_round():
    import http.client
    import http.server
    import threading

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = http.client.HTTPConnection(*server.server_address, timeout=5)
        client.request("HEAD", "/")
        status = client.getresponse().status
        server.shutdown()
        return "ok" if status == 200 else str(status)


def bound(address, kind, port=0):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind((address, port))
        return "ok"


def bind_device():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, 25, b"lo\0")
        return "ok"


def option(level, name):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.setsockopt(level, name, 1)
        return "ok"


def names(check, context):
    check("resolv", "", lambda: read("/etc/resolv.conf"), "no resolver of the host is named")
    check("hosts", Want("localhost and no machine", lambda a: "localhost" in a and all(
        l.split()[0] in ("127.0.0.1", "::1", "127.0.1.1") for l in a.splitlines() if l.strip() and not l.startswith("#"))),
        lambda: read("/etc/hosts"), "no name of the host's network")
    check("nsswitch", Want("files and dns", lambda a: "files" in a and "systemd" not in a and "sss" not in a), lambda: read("/etc/nsswitch.conf"), "nothing that asks a daemon")
    check("resolve-outside", Want("no answer", lambda a: a.startswith("gaierror")), lambda: in_child(lookup), "names of the world have no answer")
    check("protocols", "6", lambda: str(socket.getprotobyname("tcp")), "libraries look numbers up", strict="OSError: protocol not found")
    check("services", "443", lambda: str(socket.getservbyname("https")), "the same", strict="OSError: service/proto not found")


def lookup():
    try:
        return socket.gethostbyname("example.org")
    except socket.gaierror as e:
        return f"gaierror {e.errno}"


SOCKETS = (
    "/run/dbus/system_bus_socket", "/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
    "/run/systemd/private", "/run/systemd/notify", "/run/systemd/journal/socket", "/run/systemd/journal/stdout", "/dev/log", "/run/udev/control",
    "/run/fetchml/bus.sock", "/tmp/.X11-unix/X0", "/run/nscd/socket", "/run/libvirt/libvirt-sock", "/run/snapd.socket", "/run/user/1000/bus",
)


def local(check, context):
    for path in SOCKETS:
        check(f"socket{path.replace('/', '-')}", "ENOENT|ECONNREFUSED", lambda p=path: connected(p, family=socket.AF_UNIX), "a door of the host that is not there")
    for number, name in enumerate(context.host.get("abstract", [])):
        check(f"abstract-host-{number}", "ECONNREFUSED|EPERM", lambda n=name: connected("\0" + n, family=socket.AF_UNIX), "abstract names are of a network namespace (CVE-2020-15257)")
    for name in ("/org/freedesktop/systemd1/notify", "@/containerd-shim/x", "/tmp/.X11-unix/X0", "/tmp/dbus-x", "fetchml"):
        check(f"abstract-{name.strip('@/').replace('/', '-')}", "ECONNREFUSED|EPERM", lambda n=name: connected("\0" + n, family=socket.AF_UNIX), "nor a guessed one")
    check("abstract-own", "ok", abstract_own, "own abstract sockets work")
    check("vsock", "absent", exists("/dev/vsock"), "no way to the hypervisor")


def abstract_own():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0probe-own")
        server.listen()
        return connected("\0probe-own", family=socket.AF_UNIX)
