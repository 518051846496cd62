"""moto's S3, one request at a time: in moto the check of If-None-Match and the write behind it are two steps."""
import sys
import threading

import moto.server

turn = threading.Lock()
answer = moto.server.DomainDispatcherApplication.__call__


def answer_alone(self, environ, start_response):
    with turn:
        return list(answer(self, environ, start_response))


moto.server.DomainDispatcherApplication.__call__ = answer_alone
moto.server.main(sys.argv[1:])
