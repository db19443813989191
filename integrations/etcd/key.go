package etcd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// keyForm shows how a target's path is spelled.
const keyForm = "<key>"

// maxKey is the longest key that can be a target, in bytes. The server has no limit
// of its own but that of a request.
const maxKey = 1024

// parseKey reads a target. Keys may hold any byte; one that can not be printed is
// none that people can approve.
func parseKey(target incident.Target) (string, error) {
	key := target.Path
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("parse target %q: %w: want %s of printable characters", printable(target.String(), maxSaid), driver.ErrInvalid, keyForm)
	}
	return key, nil
}

// entry is what a key is at one revision of the store.
type entry struct {
	// revision is that of the write; of a key that is not there, it is that of the
	// store when it was looked for, or of the deletion where that is known.
	revision int64
	// there says that the key has a value.
	there bool
	value []byte
	// version counts the writes since the key was made, from 1.
	version int64
	// lease is what the key is attached to; 0 is none.
	lease int64
}

// modified is what the transaction compares with: 0 for a key that is not there.
func (e entry) modified() int64 {
	if e.there {
		return e.revision
	}
	return 0
}

func entryOf(kv *mvccpb.KeyValue) entry {
	return entry{revision: kv.ModRevision, there: true, value: kv.Value, version: kv.Version, lease: kv.Lease}
}

// at reads a key as it was at a revision of the store, 0 for now; newest is the
// store's present revision.
func (c *connection) at(ctx context.Context, key string, revision int64) (found entry, newest int64, err error) {
	var answer *pb.RangeResponse
	err = c.call(ctx, func(ctx context.Context) (err error) {
		answer, err = pb.NewKVClient(c.client).Range(ctx, &pb.RangeRequest{Key: []byte(key), Revision: revision})
		return err
	})
	if err != nil {
		return entry{}, 0, err
	}
	newest = answer.Header.GetRevision()
	if len(answer.Kvs) > 0 {
		return entryOf(answer.Kvs[0]), newest, nil
	}
	if revision == 0 {
		revision = newest
	}
	return entry{revision: revision}, newest, nil
}

// maxEvents bounds how many changes of one key are read.
const maxEvents = 10_000

// progressPause is how often the server is asked whether it has told everything: it
// answers only once it has.
const progressPause = 20 * time.Millisecond

// errManyEvents means that a key has more changes than can be read.
var errManyEvents = fmt.Errorf("the key has more than %d changes", maxEvents)

// events reads the changes of a key from a revision of the store on, oldest first.
// What was compacted away is left out; first is where the answer begins.
func (c *connection) events(ctx context.Context, key string, since int64) (found []entry, first int64, err error) {
	_, newest, err := c.at(ctx, key, 0)
	if err != nil {
		return nil, 0, err
	}
	for first = max(since, 1); first <= newest; {
		var compacted int64
		err := c.call(ctx, func(ctx context.Context) (err error) {
			found, compacted, err = c.watch(ctx, key, first, newest)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
		if compacted == 0 {
			break
		}
		if compacted <= first {
			return nil, 0, errors.New("read history: the server compacts it meanwhile")
		}
		first = compacted
	}
	return found, first, nil
}

// watch reads the changes from one revision to another, or tells from where on the
// store keeps any.
func (c *connection) watch(ctx context.Context, key string, from, to int64) (found []entry, compacted int64, err error) {
	ctx, cancel := context.WithCancel(ctx) // It ends the stream.
	defer cancel()
	stream, err := pb.NewWatchClient(c.client).Watch(ctx)
	if err != nil {
		return nil, 0, err
	}
	if err := stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{Key: []byte(key), StartRevision: from}}}); err != nil {
		return nil, 0, err
	}
	created := make(chan struct{})
	go func() { // The only sender from here on.
		tick := time.NewTicker(progressPause)
		defer tick.Stop()
		select {
		case <-created:
		case <-ctx.Done():
			return
		}
		for {
			if stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}) != nil {
				return // Whoever receives is told why.
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	for begun := false; ; {
		answer, err := stream.Recv()
		switch {
		case err != nil:
			return nil, 0, err
		case answer.CompactRevision > 0:
			return nil, answer.CompactRevision, nil
		case answer.Canceled:
			return nil, 0, fmt.Errorf("%w: the server refused to tell the history", driver.ErrDenied)
		case answer.Created && !begun:
			begun = true
			close(created)
			continue
		}
		for _, event := range answer.Events {
			if event.Kv.ModRevision > to {
				return found, 0, nil
			}
			e := entryOf(event.Kv)
			if event.Type == mvccpb.Event_DELETE {
				e = entry{revision: event.Kv.ModRevision}
			}
			if found = append(found, e); len(found) > maxEvents {
				return nil, 0, errManyEvents
			}
		}
		if len(answer.Events) == 0 && answer.Header.GetRevision() >= to {
			return found, 0, nil
		}
	}
}

// maxLabel is the longest value that is shown as a label, in bytes.
const maxLabel = 40

// versionPattern is what a value must look like to be shown: a version with a "v", or
// one with at least one dot. A bare number could be a PIN.
var versionPattern = regexp.MustCompile(`^(v[0-9]{1,8}(\.[0-9]{1,8}){0,3}|[0-9]{1,8}(\.[0-9]{1,8}){1,3})(-(alpha|beta|rc)\.?[0-9]{1,4})?$`)

func (e entry) state() incident.State {
	return incident.State{Revision: strconv.FormatInt(e.revision, 10), Digest: e.digest(), Label: e.label()}
}

// digest is taken over "value", a zero byte and the value, or over "absent".
func (e entry) digest() string {
	if !e.there {
		return incident.DigestOf([]byte("absent"))
	}
	return incident.DigestOf(append([]byte("value\x00"), e.value...))
}

func (e entry) label() string {
	switch {
	case !e.there:
		return incident.StateAbsent
	case len(e.value) <= maxLabel && versionPattern.Match(e.value):
		return string(e.value)
	default:
		return fmt.Sprintf("revision %d", e.revision)
	}
}

// name is what people call the entry within a sentence.
func (e entry) name() string {
	number := fmt.Sprintf("revision %d", e.revision)
	if label := e.label(); label != number {
		return fmt.Sprintf("%s (%s)", number, label)
	}
	return number
}

// detail is one line for people about an entry that was observed.
func (e entry) detail() string {
	if !e.there {
		return fmt.Sprintf("the key has no value at revision %d of the store", e.revision)
	}
	return fmt.Sprintf("%s was written by the %s write since the key was made", e.name(), ordinal(e.version))
}

// ordinal is a number as people count.
func ordinal(n int64) string {
	suffix := "th"
	if n%100 < 11 || n%100 > 13 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return strconv.FormatInt(n, 10) + suffix
}

// printable makes one short line of text from outside.
func printable(text string, limit int) string {
	line := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text))
	return string(line[:min(len(line), limit)])
}
