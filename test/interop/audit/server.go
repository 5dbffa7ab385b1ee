// Package audit checks a log of Annals over HTTP, with golang.org/x/mod/sumdb/{tlog,note} as the only judge of
// hashes, proofs and signatures. Nothing here is shared with the code under test.
package audit

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A Mismatch is something that the log says and that is not so: tampering, or a bug of the log's.
type Mismatch struct {
	Where string // the resource or leaf
	What  string
}

func (m *Mismatch) Error() string { return m.Where + ": " + m.What }

func mismatch(where, format string, args ...any) error {
	return &Mismatch{Where: where, What: fmt.Sprintf(format, args...)}
}

// A Server is one log, by the prefix of its C2SP tlog-tiles resources.
type Server struct {
	Prefix string // such as http://127.0.0.1:4100/v1/organizations/org_acme/log
	Token  string // API key; empty for a public log
	Client *http.Client
}

// No resource of a log is larger: a bundle of 256 records of 65,535 bytes.
const maxBytes = 17 << 20

// get reads a resource. A resource that is not there is a Mismatch: the caller asks only for what a checkpoint
// commits to. Anything else that is no 200 is an ordinary error.
func (s *Server) get(ctx context.Context, url, accept string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	if s.Token != "" {
		request.Header.Set("Authorization", "Bearer "+s.Token)
	}
	response, err := s.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBytes+1))
	if err != nil {
		return nil, err
	}
	switch {
	case response.StatusCode == http.StatusNotFound:
		return nil, mismatch(s.name(url), "is not there")
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: the server answered %s", s.name(url), response.Status)
	case len(body) > maxBytes:
		return nil, mismatch(s.name(url), "is larger than any resource of a log")
	}
	return body, nil
}

// name is the part of a URL that says what was asked for.
func (s *Server) name(url string) string {
	if event, found := strings.CutPrefix(url, s.eventsPrefix()+"/"); found && s.eventsPrefix() != "" {
		return "events/" + event
	}
	return strings.TrimPrefix(url, s.Prefix+"/")
}

func (s *Server) resource(ctx context.Context, path string) ([]byte, error) {
	return s.get(ctx, s.Prefix+"/"+path, "application/octet-stream")
}

// Checkpoint is the newest signed checkpoint, as it was served.
func (s *Server) Checkpoint(ctx context.Context) ([]byte, error) {
	return s.get(ctx, s.Prefix+"/checkpoint", "text/plain")
}

// hashTile is the bytes of a tile of hashes, which must have exactly its width.
func (s *Server) hashTile(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	path := tilePath(tile)
	data, err := s.resource(ctx, path)
	if err == nil && len(data) != tile.W*tlog.HashSize {
		return nil, mismatch(path, "has %d bytes for %d hashes", len(data), tile.W)
	}
	return data, err
}

// bundle is the records behind a tile of level 0.
func (s *Server) bundle(ctx context.Context, tile tlog.Tile) ([][]byte, error) {
	path := bundlePath(tile)
	data, err := s.resource(ctx, path)
	if err != nil {
		return nil, err
	}
	return parseBundle(path, data, tile.W)
}

// eventsPrefix is where the events of the log's organization are; empty for a log that has none (the anchor log).
func (s *Server) eventsPrefix() string {
	organization, _, found := strings.Cut(s.Prefix, "/log")
	if !found || !strings.Contains(organization, "/organizations/") {
		return ""
	}
	return organization + "/events"
}

// receipt is the tlog-proof of one event.
func (s *Server) receipt(ctx context.Context, id string) ([]byte, error) {
	return s.get(ctx, s.eventsPrefix()+"/"+id+"/proof", "text/plain")
}

// consistency is the server's own proof that the tree of size to begins with that of size from.
func (s *Server) consistency(ctx context.Context, from, to int64) (tlog.TreeProof, error) {
	query := fmt.Sprintf("consistency?from=%d&to=%d", from, to)
	data, err := s.get(ctx, s.Prefix+"/"+query, "application/json")
	if err != nil {
		return nil, err
	}
	var answer struct {
		From, To *int64
		Proof    []string
	}
	if json.Unmarshal(data, &answer) != nil || answer.From == nil || answer.To == nil {
		return nil, mismatch(query, "is no {from, to, proof}")
	}
	if *answer.From != from || *answer.To != to {
		return nil, mismatch(query, "answers for %d to %d", *answer.From, *answer.To)
	}
	proof := tlog.TreeProof{}
	for _, text := range answer.Proof {
		hash, err := parseHash(text)
		if err != nil {
			return nil, mismatch(query, "holds a hash that is none")
		}
		proof = append(proof, hash)
	}
	return proof, nil
}

func parseHash(text string) (tlog.Hash, error) {
	var hash tlog.Hash
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(data) != tlog.HashSize {
		return hash, fmt.Errorf("not a hash")
	}
	copy(hash[:], data)
	return hash, nil
}
