package audit

import (
	"bytes"
	"context"
	"encoding/json"

	"golang.org/x/mod/sumdb/tlog"
)

// Options say how far to go.
type Options struct {
	Samples       int  // leaves to ask inclusion proofs for, spread evenly; 0 = every leaf
	Receipts      bool // ask the server for the tlog-proof of each sampled leaf's event
	AllowWithheld bool // entries of no bytes (records past their time, or damaged) are counted and not an error
}

// A Report says what was checked and found right.
type Report struct {
	Origin      string
	Size        int64
	Witnesses   []string
	Tiles       int
	Bundles     int
	Records     int64
	Withheld    int64 // entries of no bytes that do not hash to their leaf
	Inclusions  int
	Receipts    int
	Anchored    int // receipts with an anchor proof
	Consistency int
}

// Auditor watches one log. It remembers the last checkpoint, and every later one must be consistent with it.
type Auditor struct {
	Server *Server
	Keys   *Keys
	Anchor *Keys // of the anchor log; absent, the anchor proofs of receipts are not looked at
	Last   *Checkpoint
}

// Resume makes the next audit prove consistency with a checkpoint that was trusted earlier.
func (a *Auditor) Resume(signed []byte) error {
	checkpoint, err := a.Keys.Open("the earlier checkpoint", signed)
	if err == nil {
		a.Last = checkpoint
	}
	return err
}

// Audit takes the newest checkpoint and checks all it commits to: every entry bundle against every tile, every tile
// against the root, consistency with the checkpoint before, and inclusion proofs. A *Mismatch is tampering; any
// other error means that the log could not be read.
func (a *Auditor) Audit(ctx context.Context, options Options) (*Report, error) {
	signed, err := a.Server.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	checkpoint, err := a.Keys.Open("checkpoint", signed)
	if err != nil {
		return nil, err
	}
	tree := checkpoint.Tree
	report := &Report{Origin: a.Keys.Log[0].Name(), Size: tree.N, Witnesses: checkpoint.Witnesses}
	records, err := a.rebuild(ctx, tree, options, report)
	if err != nil {
		return nil, err
	}
	if a.Keys.isAnchor() {
		if err := checkEntries(records); err != nil {
			return nil, err
		}
	}
	if a.Last != nil {
		if err := a.checkConsistency(ctx, a.Last.Tree, tree, report); err != nil {
			return nil, err
		}
	}
	if err := a.checkInclusion(ctx, tree, records, options, report); err != nil {
		return nil, err
	}
	a.Last = checkpoint
	return report, nil
}

// storedHashes is the whole tree in Go's own order, rebuilt from the records.
type storedHashes []tlog.Hash

func (s storedHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = s[index]
	}
	return hashes, nil
}

// rebuild hashes every record into a tree of its own and holds every tile of the server's against it.
func (a *Auditor) rebuild(ctx context.Context, tree tlog.Tree, options Options, report *Report) ([][]byte, error) {
	var stored storedHashes
	var records [][]byte
	for _, tile := range tlog.NewTiles(tileHeight, 0, tree.N) {
		if tile.L != 0 {
			continue
		}
		data, err := a.Server.hashTile(ctx, tile)
		if err != nil {
			return nil, err
		}
		entries, err := a.Server.bundle(ctx, tile)
		if err != nil {
			return nil, err
		}
		report.Bundles++
		for i, entry := range entries {
			index := tile.N<<tileHeight + int64(i)
			leaf := tlog.Hash(data[i*tlog.HashSize : (i+1)*tlog.HashSize])
			if tlog.RecordHash(entry) != leaf {
				if len(entry) > 0 || !options.AllowWithheld {
					return nil, mismatch(bundlePath(tile), "the record of leaf %d does not hash to its leaf", index)
				}
				report.Withheld++
				entry = nil
			}
			hashes, err := tlog.StoredHashesForRecordHash(index, leaf, stored)
			if err != nil {
				return nil, err
			}
			stored = append(stored, hashes...)
			records = append(records, entry)
			report.Records++
		}
	}
	root, err := tlog.TreeHash(tree.N, stored)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		return nil, mismatch("checkpoint", "the records do not hash to its root")
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, tree.N) {
		served, err := a.Server.hashTile(ctx, tile)
		if err != nil {
			return nil, err
		}
		own, err := tlog.ReadTileData(tile, stored)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(served, own) {
			return nil, mismatch(tilePath(tile), "is not the tile of these records")
		}
		report.Tiles++
	}
	return records, nil
}

// checkInclusion proves sampled leaves from the server's tiles, and checks the server's own receipts of them.
func (a *Auditor) checkInclusion(ctx context.Context, tree tlog.Tree, records [][]byte, options Options, report *Report) error {
	tiles := newTileReader(ctx, a.Server)
	reader := tlog.TileHashReader(tree, tiles)
	for _, index := range samples(tree.N, options.Samples) {
		proof, err := tlog.ProveRecord(tree.N, index, reader)
		if err != nil {
			return tiles.verdict(err)
		}
		if records[index] == nil {
			continue
		}
		leaf := tlog.RecordHash(records[index])
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, leaf); err != nil {
			return mismatch("tile", "does not prove leaf %d", index)
		}
		report.Inclusions++
		if !options.Receipts || a.Server.eventsPrefix() == "" {
			continue
		}
		if err := a.checkReceipt(ctx, tree, index, records[index], report); err != nil {
			return err
		}
		report.Receipts++
	}
	return nil
}

func (a *Auditor) checkReceipt(ctx context.Context, tree tlog.Tree, index int64, record []byte, report *Report) error {
	var event struct{ ID string }
	if json.Unmarshal(record, &event) != nil || event.ID == "" {
		return mismatch("tile/entries", "the record of leaf %d has no id", index)
	}
	where := "events/" + event.ID + "/proof"
	text, err := a.Server.receipt(ctx, event.ID)
	if err != nil {
		return err
	}
	receipt, err := a.Keys.OpenReceipt(where, text, tlog.RecordHash(record))
	if err != nil {
		return err
	}
	if receipt.Index != index {
		return mismatch(where, "is for leaf %d and not %d", receipt.Index, index)
	}
	if a.Anchor != nil {
		anchored, err := a.checkAnchor(ctx, where, receipt, tlog.RecordHash(record))
		if err != nil {
			return err
		}
		if anchored {
			report.Anchored++
		}
	}
	// The log may have grown since the checkpoint under audit, and a receipt may be older than it.
	older, newer := tree, receipt.Checkpoint.Tree
	if older.N > newer.N {
		older, newer = newer, older
	}
	return a.checkConsistency(ctx, older, newer, nil)
}

// checkConsistency proves, from tiles and by the server's own proof, that the newer tree begins with the older one.
// It counts in the report, if there is one.
func (a *Auditor) checkConsistency(ctx context.Context, older, newer tlog.Tree, report *Report) error {
	if older.N > newer.N {
		return mismatch("checkpoint", "went back from %d leaves to %d", older.N, newer.N)
	}
	if older.N == newer.N {
		if older.Hash != newer.Hash {
			return mismatch("checkpoint", "two roots for %d leaves", older.N)
		}
		return nil
	}
	if older.N == 0 {
		return nil
	}
	tiles := newTileReader(ctx, a.Server)
	fromTiles, err := tlog.ProveTree(newer.N, older.N, tlog.TileHashReader(newer, tiles))
	if err != nil {
		return tiles.verdict(err)
	}
	if err := tlog.CheckTree(fromTiles, newer.N, newer.Hash, older.N, older.Hash); err != nil {
		return mismatch("checkpoint", "the tree of %d leaves does not begin with the one of %d that was seen", newer.N, older.N)
	}
	// The anchor log has tiles alone, as C2SP has it.
	if a.Server.eventsPrefix() != "" {
		served, err := a.Server.consistency(ctx, older.N, newer.N)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(served, newer.N, newer.Hash, older.N, older.Hash); err != nil {
			return mismatch("consistency", "the proof from %d to %d leaves does not hold", older.N, newer.N)
		}
	}
	if report != nil {
		report.Consistency++
	}
	return nil
}

// samples are count leaves spread evenly over a tree, both ends among them; all of them for 0.
func samples(size int64, count int) []int64 {
	if count == 0 || int64(count) >= size {
		count = int(size)
	}
	indexes := make([]int64, 0, count)
	for i := range int64(count) {
		if count == 1 {
			indexes = append(indexes, size-1)
			break
		}
		indexes = append(indexes, i*(size-1)/int64(count-1))
	}
	return indexes
}
