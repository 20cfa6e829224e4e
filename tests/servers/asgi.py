"""The same application for servers that speak ASGI."""

from a2wsgi import WSGIMiddleware

from tests.servers import web

app = WSGIMiddleware(web.app)
