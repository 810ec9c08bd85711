"""Forwards connections: the only way between a network namespace and a broker outside.

usage: forward.py HOST PORT TO_HOST TO_PORT
"""
import socket
import sys
import threading


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def main(host, port, to_host, to_port):
    server = socket.create_server((host, int(port)))
    while True:
        client, _ = server.accept()
        try:
            target = socket.create_connection((to_host, int(to_port)), timeout=5)
            target.settimeout(None)
        except OSError:
            client.close()
            continue
        for pair in ((client, target), (target, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()


if __name__ == '__main__':
    main(*sys.argv[1:])
