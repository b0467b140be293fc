FROM rust:1.95-bookworm AS builder
ARG TARGETARCH
WORKDIR /source
COPY . .
# The caches outlive the layer, so the binary is copied out of the target folder in the same step. Kernels for arm64 differ in
# the size of a page; an allocator that is made for the largest runs on all of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    if [ "$TARGETARCH" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && cargo build --release --locked --package key-authority-server --bin key-authority \
    && cp target/release/key-authority /usr/local/bin/key-authority \
    # Debug information is four fifths of the file; the names of functions stay, for a panic's backtrace.
    && strip --strip-debug /usr/local/bin/key-authority

# The same Debian as the builder's, for its libc.
FROM debian:bookworm-slim
# For TLS to a database; from the builder, so that this stage installs nothing.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder /usr/local/bin/key-authority /usr/local/bin/key-authority
# A number and no name, so that Kubernetes can see that it is not root.
RUN install --directory --owner=65532 --group=65532 --mode=0700 /data
USER 65532:65532
VOLUME /data
# Here ./data, the default, is /data. It is not set, since a folder that is named beside a database URL is warned of.
WORKDIR /
ENV KEY_AUTHORITY_LISTEN=0.0.0.0:50051 \
    KEY_AUTHORITY_API_LISTEN=0.0.0.0:8051 \
    KEY_AUTHORITY_HTTP_LISTEN=0.0.0.0:9464
# gRPC; the HTTP door; /metrics, /livez and /readyz.
EXPOSE 50051 8051 9464
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["key-authority", "healthcheck"]
ENTRYPOINT ["key-authority"]
