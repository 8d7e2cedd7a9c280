# Two images: the roles (default) and, with --target all-in-one, everything including PostgreSQL.
#
#   docker build -t pandu .
#   docker build -t pandu:all-in-one --target all-in-one .
#
# make image builds both without any network in their steps: it hands over a dashboard and Go modules that are there.
ARG GO_IMAGE=golang:1.26
ARG NODE_IMAGE=node:20-slim
ARG DATABASE_IMAGE=debian:12-slim

FROM ${NODE_IMAGE} AS dashboard
WORKDIR /ui
COPY ui/ ./
RUN if [ ! -f dist/index.html ]; then npm ci --no-audit --no-fund && npm run build; fi

FROM ${GO_IMAGE} AS build
ARG VERSION=dev
WORKDIR /src
COPY . .
COPY --from=dashboard /ui/dist ui/dist
RUN if [ -d vendor ]; then mod=vendor; else mod=readonly; fi && \
    CGO_ENABLED=0 go build -mod=$mod -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/usr/local/bin/pandu . && \
    CGO_ENABLED=0 go build -mod=$mod -trimpath -ldflags "-s -w" -o /out/usr/local/bin/pandu-fileserver ./modules/kit/fileserver/cmd/pandu-fileserver && \
    mkdir -p /out/etc/ssl/certs /out/var/lib/pandu /out/tmp && chmod 1777 /out/tmp && \
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ && \
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n' >/out/etc/passwd && \
    printf 'root:x:0:\nnobody:x:65534:\n' >/out/etc/group

# The roles. One program, no shell, no package. Managers and creators may run as any user (--user 65534:65534, with a data
# directory of theirs); agent and gateway need root: Docker's socket, ports below 1024, names on bridge addresses. The
# program takes over no orphans and needs no init.
FROM scratch AS roles
COPY --from=build /out/ /
ENV PATH=/usr/local/bin PANDU_DATA_DIR=/var/lib/pandu
VOLUME /var/lib/pandu
EXPOSE 80 8080 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 CMD ["/usr/local/bin/pandu", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/pandu"]
CMD ["serve"]

# Everything on one machine. The private PostgreSQL runs as its own user inside.
FROM ${DATABASE_IMAGE} AS all-in-one
RUN if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then \
      mkdir -p /etc/postgresql-common && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf && \
      apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql && \
      rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /out/usr/local/bin/ /usr/local/bin/
COPY --from=build /out/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV PANDU_DATA_DIR=/var/lib/pandu
VOLUME /var/lib/pandu
EXPOSE 80 8080 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["pandu", "healthcheck"]
ENTRYPOINT ["pandu"]
CMD ["serve"]

FROM roles
