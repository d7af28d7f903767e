"""Sockets: families with a history of holes, the packet filter, the routing
tables, and listeners of the host. Arguments: a name in the host's abstract
namespace and a path, on both of which the host listens."""

import os
import socket
import struct
import sys
from attack import attempt, call, done

REFUSED = "EAFNOSUPPORT"
STREAM, DGRAM, RAW, SEQPACKET = 1, 2, 3, 5
for name, family, kind, protocol in [
    ("packet", 17, RAW, 3), ("packet, cooked", 17, DGRAM, 3), ("vsock", 40, STREAM, 0),
    ("alg", 38, SEQPACKET, 0), ("bluetooth", 31, RAW, 1), ("tipc", 30, STREAM, 0),
    ("rds", 21, SEQPACKET, 0), ("can", 29, RAW, 1), ("key", 15, RAW, 2), ("llc", 26, DGRAM, 0),
    ("ax25", 3, SEQPACKET, 0), ("x25", 9, SEQPACKET, 0), ("phonet", 35, DGRAM, 0),
    ("xdp", 44, RAW, 0), ("kcm", 41, SEQPACKET, 0), ("pppox", 24, STREAM, 0),
    ("dccp", 2, 6, 33), ("sctp", 2, STREAM, 132), ("mptcp", 2, STREAM, 262), ("udplite", 2, DGRAM, 136),
    ("raw", 2, RAW, 1), ("raw over IPv6", 10, RAW, 58), ("ping", 2, DGRAM, 1), ("l2tp", 2, DGRAM, 115),
    ("netlink netfilter", 16, RAW, 12), ("netlink xfrm", 16, RAW, 6), ("netlink audit", 16, RAW, 9),
    ("netlink uevent", 16, RAW, 15), ("netlink generic", 16, RAW, 16), ("netlink connector", 16, RAW, 11),
]:
    attempt(name, REFUSED, call, 41, family, kind, protocol)
    attempt(f"{name}, high bits", REFUSED, call, 41, 1 << 33 | family, kind, protocol)
attempt("pair of packet sockets", REFUSED, call, 53, 17, RAW, 0, b"\0" * 8)

# The packet filter's interface on an ordinary socket.
tcp = socket.socket()
IPT_SO_SET_REPLACE, IPT_SO_GET_INFO = 64, 64
attempt("iptables replace", "EPERM ENOPROTOOPT", tcp.setsockopt, socket.SOL_IP, IPT_SO_SET_REPLACE, b"\0" * 200)
attempt("iptables info", "EPERM ENOPROTOOPT", tcp.getsockopt, socket.SOL_IP, IPT_SO_GET_INFO, 84)
attempt("force a buffer", "EPERM", tcp.setsockopt, socket.SOL_SOCKET, 33, 1 << 30)
attempt("bind to a device", "EPERM ENODEV", tcp.setsockopt, socket.SOL_SOCKET, 25, b"eth0\0")

# Interfaces, addresses, filters by routing messages: the namespace is not ours.
route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
route.bind((0, 0))


def ask(kind, payload):
    header = struct.pack("<IHHII", 16 + len(payload), kind, 5 | 0x600, 1, 0)
    route.send(header + payload)
    answer = route.recv(4096)
    error = struct.unpack_from("<i", answer, 16)[0]
    if error < 0:
        raise OSError(-error, "")
    return error


link = struct.pack("<BxHiII", 0, 0, 0, 1, 1)
dummy = struct.pack("<HH", 9, 0x8000 | 18) + struct.pack("<HH", 10, 1) + b"dummy\0\0\0"
attempt("make an interface", "EPERM", ask, 16, link + dummy)
attempt("bring the loopback up", "EPERM", ask, 16, struct.pack("<BxHiII", 0, 0, 1, 1, 1))
attempt("add an address", "EPERM", ask, 20, struct.pack("<BBBBI", 2, 24, 0, 0, 1) + struct.pack("<HH4B", 8, 2, 10, 0, 0, 1))
attempt("add a traffic filter", "EPERM", ask, 44, struct.pack("<BxxxiIII", 0, 1, 0, 0, 0) + struct.pack("<HH", 10, 1) + b"route\0\0\0")
attempt("add a queue", "EPERM", ask, 36, struct.pack("<BxxxiIII", 0, 1, 0, 0xffffffff, 0) + struct.pack("<HH", 8, 1) + b"qfq\0")

# Listeners of the host.
abstract, path = sys.argv[1:3]


def reach(address):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(2)
    s.connect(address)
    return "connected"


attempt("abstract listener of the host", "ECONNREFUSED EPERM", reach, "\0" + abstract)
attempt("listener of the host by path", "ENOENT EACCES", reach, path)
for usual in ["/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock",
              "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/systemd/notify",
              "/run/systemd/journal/socket", "/run/fetchml/bus.sock", "/tmp/.X11-unix/X0"]:
    attempt(usual, "ENOENT EACCES", reach, usual)
listed = [line for line in open("/proc/net/unix")][1:]
print("BROKEN host sockets are listed" if any("/run" in line or abstract in line for line in listed) else "held list of sockets: empty")
done()
