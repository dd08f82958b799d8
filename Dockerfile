# syntax=docker/dockerfile:1
# espy as an image: docker build -t espy .
#   default            debian:bookworm-slim and what espy needs beyond it: a shell to look around with
#   --target minimal   nothing but espy, the libraries that it loads, and certificates
# Both run as user 10001 and write to /data alone. See docs/containers.md and docs/adr/0021-images-and-packages.md.

FROM debian:bookworm-slim AS build
# What the image has of itself need not be copied into it later.
RUN find / -xdev -name '*.so*' > /base-libraries
WORKDIR /espy
COPY script/install-packages script/
COPY src/cassandra/driver/Cargo.toml src/cassandra/driver/
RUN script/install-packages build cassandra \
 && apt-get install --yes --quiet --quiet --no-install-recommends ccache lld \
 && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY models models
COPY web web
COPY src src
COPY packaging/crate-notices packaging/
# Small rather than quick where it does not show: the driver and what only talks are compiled for size, functions that
# nobody calls and equal ones go (lld). Of libraries that come as archives only the parts
# that are needed are taken; {fmt} and spdlog as headers.
RUN --mount=type=cache,target=/root/.cache/ccache --mount=type=cache,target=/root/.cargo/registry \
    --mount=type=cache,target=/espy/build/cargo \
    export CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat \
 && archives=/usr/lib/$(dpkg-architecture --query DEB_HOST_MULTIARCH) \
 && cmake --preset release -DESPY_CASSANDRA=ON -DESPY_SMALL_MODULES="cassandra;cli;http" \
          -DESPY_LOG_AS_HEADERS=ON -DESPY_GRPC=OFF -DCMAKE_CXX_COMPILER_LAUNCHER=ccache \
          -DCMAKE_CXX_FLAGS="-ffunction-sections -fdata-sections" -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" \
          -DCMAKE_EXE_LINKER_FLAGS="-fuse-ld=lld -Wl,--as-needed,--gc-sections,--icf=all,-O2" \
          -DOPENSSL_USE_STATIC_LIBS=ON -DBoost_USE_STATIC_LIBS=ON \
          -DSQLite3_LIBRARY=$archives/libsqlite3.a -DJPEG_LIBRARY_RELEASE=$archives/libjpeg.a \
          -DProtobuf_LITE_LIBRARY_RELEASE=$archives/libprotobuf-lite.a -DGIF_LIBRARY=$archives/libgif.a \
          -DZLIB_LIBRARY_RELEASE=$archives/libz.a -Dpkgcfg_lib_deflate_deflate=$archives/libdeflate.a \
          -Dpkgcfg_lib_webp_webp=$archives/libwebp.a -Dpkgcfg_lib_webp_webpdemux=$archives/libwebpdemux.a \
 && cmake --build --preset release --target espy \
 && strip -o /usr/bin/espy build/release/src/cli/espy \
 && packaging/crate-notices | gzip -9n > crate-notices.gz
COPY LICENSE ./
COPY packaging/container/make-root packaging/container/
# Of Boost nothing is said: its license asks for no notice with a program.
RUN within="libssl-dev libsqlite3-dev libjpeg62-turbo-dev libprotobuf-dev libgif-dev zlib1g-dev libdeflate-dev libwebp-dev \
            libfmt-dev libspdlog-dev libcli11-dev libonnx-dev libjemalloc-dev" \
 && packaging/container/make-root /usr/bin/espy /minimal $within \
 && packaging/container/make-root --beyond /base-libraries /usr/bin/espy /beyond $within \
 && for root in /minimal /beyond; do install -D --mode=0644 --target-directory=$root/usr/share/doc/espy LICENSE crate-notices.gz; done \
 && install --directory --mode=0750 /data-of-espy/data

FROM scratch AS minimal
COPY --from=build /minimal /
COPY --from=build --chown=10001:10001 /data-of-espy /
ENV PATH=/usr/bin ESPY_HOST=0.0.0.0 ESPY_STORE=sqlite:/data/history.db ESPY_STOP_TIMEOUT=1.5 ESPY_LOG_TO=stdout SQLITE_TMPDIR=/data \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/espy", "health"]
ENTRYPOINT ["/usr/bin/espy"]
CMD ["serve"]

FROM debian:bookworm-slim
COPY --from=build /beyond /
COPY --from=build --chown=10001:10001 /data-of-espy /
ENV ESPY_HOST=0.0.0.0 ESPY_STORE=sqlite:/data/history.db ESPY_STOP_TIMEOUT=1.5 ESPY_LOG_TO=stdout SQLITE_TMPDIR=/data \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/bin/espy", "health"]
ENTRYPOINT ["/usr/bin/espy"]
CMD ["serve"]
