"""A server that speaks TLS and has another one behind it that does not.

usage: tls_front.py PORT BEHIND FOLDER

It listens on PORT of this machine with a certificate of `localhost`, which an authority signed whose own is in FOLDER/ca.pem once it listens; in
FOLDER/other.pem is one of an authority that signed nothing. What it hears it says to port BEHIND, and back.
"""
import datetime
import os
import socket
import ssl
import sys
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def certificate(name, key, by=None, signer=None):
    """A certificate for two days; of an authority, unless one signs it."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(by.subject if by else subject)
    made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    made = made.add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    if by:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName('localhost')]), critical=False)
    return made.sign(signer or key, hashes.SHA256())


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def make(folder):
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    authority, other = certificate('an authority', keys[0]), certificate('another authority', keys[1])
    own = certificate('localhost', keys[2], authority, keys[0])
    key = keys[2].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, text in (('own.pem', pem(own) + key), ('other.pem', pem(other)), ('ca.pem', pem(authority))):
        with open(os.path.join(folder, name + '.new'), 'wb') as file:
            file.write(text)
        os.rename(os.path.join(folder, name + '.new'), os.path.join(folder, name))


def copy(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(line, context, behind):
    try:
        line = context.wrap_socket(line, server_side=True)
        back = socket.create_connection(('127.0.0.1', behind))
    except OSError:
        return line.close()
    threading.Thread(target=copy, args=(line, back), daemon=True).start()
    copy(back, line)


def main(port, behind, folder):
    listener = socket.create_server(('127.0.0.1', port))
    make(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, 'own.pem'))
    while True:
        line, _ = listener.accept()
        threading.Thread(target=serve, args=(line, context, behind), daemon=True).start()


if __name__ == '__main__':
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
