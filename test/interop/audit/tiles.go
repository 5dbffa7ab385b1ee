package audit

import (
	"context"
	"encoding/binary"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

// tilePath is a tile's path in C2SP tlog-tiles: Go's own, without the height.
func tilePath(tile tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
}

// bundlePath is the path of the records behind a tile of level 0. Go calls them level -1, "data".
func bundlePath(tile tlog.Tile) string {
	tile.L = -1
	return "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/data/")
}

// parseBundle reads records that each have their length before them, big endian in two bytes.
func parseBundle(path string, data []byte, width int) ([][]byte, error) {
	records := make([][]byte, 0, width)
	for range width {
		if len(data) < 2 {
			return nil, mismatch(path, "has %d records of %d", len(records), width)
		}
		length := int(binary.BigEndian.Uint16(data))
		if data = data[2:]; len(data) < length {
			return nil, mismatch(path, "has a record that is cut short, the %d-th", len(records))
		}
		records, data = append(records, data[:length]), data[length:]
	}
	if len(data) > 0 {
		return nil, mismatch(path, "has %d bytes after its %d records", len(data), width)
	}
	return records, nil
}

// tileReader serves Go's own reader of tiles, which hashes each up to the root before it uses it.
type tileReader struct {
	ctx    context.Context
	server *Server
	saved  map[tlog.Tile][]byte
	failed error
}

func newTileReader(ctx context.Context, server *Server) *tileReader {
	return &tileReader{ctx: ctx, server: server, saved: map[tlog.Tile][]byte{}}
}

func (r *tileReader) Height() int { return tileHeight }

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if saved, found := r.saved[tile]; found {
			data[i] = saved
			continue
		}
		if data[i], r.failed = r.server.hashTile(r.ctx, tile); r.failed != nil {
			return nil, r.failed
		}
	}
	return data, nil
}

func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, tile := range tiles {
		r.saved[tile] = data[i]
	}
}

// verdict on an error of a proof made with this reader: what the server did not answer is no tampering, tiles that
// Go found inconsistent with the root are.
func (r *tileReader) verdict(err error) error {
	if r.failed != nil {
		return r.failed
	}
	return mismatch("tile", "%v", err)
}
