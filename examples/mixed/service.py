"""A service that verifies no key: nginx has asked latchkey before. Usage: service.py [PORT]"""
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Service(BaseHTTPRequestHandler):
    def do_GET(self):
        caller = {name.lower(): unquote(value) for name, value in self.headers.items()
                  if name.lower().startswith("latchkey-")}
        if not caller.get("latchkey-owner"):
            self.send_error(500, "not called through the proxy")
            return
        body = json.dumps({"path": self.path, "caller": caller, "headers": sorted(name.lower() for name in self.headers)}).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 9092), Service)
print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
server.serve_forever()
