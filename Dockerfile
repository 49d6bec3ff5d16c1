# syntax=docker/dockerfile:1

# Build: the static binary, as "make build" makes it.
FROM golang:1.26-bookworm AS build
WORKDIR /src
# The modules first: they change seldom, so this layer is kept.
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/ssogate ./cmd/ssogate
# The directory of the SQLite file must belong to the user below: scratch has no chown.
RUN mkdir -p /out/data && chown 65534:65534 /out/data && chmod 700 /out/data

# Ship: one file, certificates to verify identity providers with, and a data
# directory. No shell, no libc, no package manager: nothing to break out with, and
# nothing to update but ssogate. Runs with a read-only root file system:
#   docker run --read-only -v ssogate-data:/data -v ./ssogate.yaml:/etc/ssogate/ssogate.yaml:ro -p 8443:8443 IMAGE
# Relative paths of the config are relative to it: set database.url "sqlite:/data/ssogate.db".
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ssogate /ssogate
COPY --from=build --chown=65534:65534 /out/data /data
ENV SSOGATE_CONFIG=/etc/ssogate/ssogate.yaml
# nobody: by number, because there is no /etc/passwd to look a name up in.
USER 65534:65534
WORKDIR /data
VOLUME /data
EXPOSE 8443
# An orchestrator asks the private listener's /healthz; there is no shell to ask with.
HEALTHCHECK NONE
ENTRYPOINT ["/ssogate"]
CMD ["serve"]
