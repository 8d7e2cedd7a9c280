package disk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
)

const (
	chunkSize  = 256 << 10
	chunkCount = 4 // buffers in flight: 1 MiB for each copy
)

// Copy writes everything of r to w and returns how many bytes that were and their SHA-256 (hex). The hash is computed
// in a second goroutine, so that it costs no time beside the disk.
func Copy(ctx context.Context, w io.Writer, r io.Reader) (int64, string, error) {
	free, full := make(chan []byte, chunkCount), make(chan []byte, chunkCount)
	for range chunkCount {
		free <- make([]byte, chunkSize)
	}
	sum := make(chan string, 1)
	go func() {
		h := sha256.New()
		for b := range full {
			h.Write(b)
			free <- b[:cap(b)]
		}
		sum <- hex.EncodeToString(h.Sum(nil))
	}()
	size, err := pump(ctx, w, r, free, full)
	close(full)
	digest := <-sum
	if err != nil {
		return size, "", err
	}
	return size, digest, nil
}

// pump moves chunks from r to w and on to the hash. A chunk is only read again when the hash has given it back.
func pump(ctx context.Context, w io.Writer, r io.Reader, free <-chan []byte, full chan<- []byte) (int64, error) {
	var size int64
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		b := <-free
		n, readErr := fill(r, b)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil {
				return size, err
			}
			size += int64(n)
			full <- b[:n]
		}
		if errors.Is(readErr, io.EOF) {
			return size, nil
		}
		if readErr != nil {
			return size, readErr
		}
	}
}

// fill reads until b is full or r ends. Unlike io.ReadFull it keeps the reader's own error apart: a request's body that
// broke off ends with io.ErrUnexpectedEOF, a whole one with io.EOF.
func fill(r io.Reader, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		m, err := r.Read(b[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
