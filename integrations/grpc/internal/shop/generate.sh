#!/bin/sh
# Makes the Go code of testdata/shop/shop.proto. It needs protoc 3.21.12 (Debian's protobuf-compiler), protoc-gen-go
# v1.36.12 and protoc-gen-go-grpc v1.6.2 in the PATH.
set -eu
cd "$(dirname "$0")"
protoc -I ../../testdata/shop --go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative shop.proto
