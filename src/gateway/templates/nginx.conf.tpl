# Rendered from templates/nginx.conf.tpl: {{API_HOST}} and {{GATEWAY_PORT}} come from .env, nginx's own $names stay.
pid /tmp/nginx.pid;
error_log /dev/stderr warn;
events {}

http {
    include mime.types;
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    # The engine's name server on networks that people make; asked per request, so that the page is there
    # before the api is.
    resolver 127.0.0.11 valid=5s;

    server {
        listen {{GATEWAY_PORT}};
        root /var/www/golinks;

        location = /health { return 200 "ok\n"; }
        location / { try_files $uri $uri/ =404; }

        location ~ ^/(go|links) {
            set $api http://{{API_HOST}}:{{API_PORT}};
            proxy_pass $api$request_uri;
            proxy_set_header Host $host;
        }

        location /handbook/ {
            set $handbook http://golinks-handbook:8080;
            rewrite ^/handbook(/.*)$ $1 break;
            proxy_pass $handbook;
        }
    }
}
