package codec

import (
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
)

const (
	// Encoding is the value of an encrypted payload's "encoding" metadata.
	Encoding = "binary/encrypted"

	// MetadataKeyID is the metadata key that names the key of a payload.
	MetadataKeyID = "encryption-key-id"

	// aadDomain binds a ciphertext to this format, so that no ciphertext made
	// with the same key for another purpose is ever taken for a payload.
	aadDomain = "backout payload v1"
)

var (
	// ErrPlain is the error for a payload that is not encrypted.
	ErrPlain = errors.New("payload is not encrypted")
	// ErrUnknownKey is the error for a payload whose key is not at hand.
	ErrUnknownKey = errors.New("payload key is not in the key file")
	// ErrTampered is the error for a payload that is not what was encrypted.
	ErrTampered = errors.New("payload was changed or is not ours")
)

// Options say how payloads are encrypted.
type Options struct {
	// Keys is required: the first key encrypts, all decrypt.
	Keys *Keys
	// AllowPlain lets payloads pass that are not encrypted, as they are. It is
	// for the time in which workflows from before the encryption are open:
	// meanwhile whoever can reach Temporal can feed an incident a decision.
	AllowPlain bool
}

// Codec encrypts and decrypts payloads with AES-256-GCM. The whole payload,
// its own metadata included, is inside the ciphertext. It may be used by
// several goroutines.
type Codec struct {
	keys       *Keys
	allowPlain bool
}

var _ converter.PayloadCodec = (*Codec)(nil)

// New returns a codec.
func New(opts Options) (*Codec, error) {
	if opts.Keys == nil || len(opts.Keys.list) == 0 {
		return nil, errors.New("compose payload codec: no keys given")
	}
	return &Codec{keys: opts.Keys, allowPlain: opts.AllowPlain}, nil
}

// Encode implements converter.PayloadCodec: it encrypts each payload with the
// first key. A payload that is encrypted already is encrypted once more.
func (c *Codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	encoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		e, err := c.seal(p)
		if err != nil {
			return nil, err
		}
		encoded[i] = e
	}
	return encoded, nil
}

// Decode implements converter.PayloadCodec: it decrypts each payload with the
// key that it names. The error wraps ErrPlain, ErrUnknownKey or ErrTampered;
// one bad payload fails them all.
func (c *Codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	decoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		d, err := c.open(p)
		if err != nil {
			return nil, err
		}
		decoded[i] = d
	}
	return decoded, nil
}

func (c *Codec) seal(p *commonpb.Payload) (*commonpb.Payload, error) {
	plain, err := proto.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("marshal payload: %w", err)
	}
	k := c.keys.list[0]
	//nolint:gosec // G407 takes the nil nonce for a fixed one; this AEAD draws a random one.
	return &commonpb.Payload{
		Metadata: map[string][]byte{
			converter.MetadataEncoding: []byte(Encoding),
			MetadataKeyID:              []byte(k.id),
		},
		Data: k.aead.Seal(nil, nil, plain, associatedData(Encoding, k.id)),
	}, nil
}

func (c *Codec) open(p *commonpb.Payload) (*commonpb.Payload, error) {
	encoding := string(p.GetMetadata()[converter.MetadataEncoding])
	if encoding != Encoding {
		if c.allowPlain {
			return p, nil
		}
		return nil, fmt.Errorf("decode payload: %w", ErrPlain)
	}
	id := string(p.GetMetadata()[MetadataKeyID])
	k, ok := c.keys.byID[id]
	if !ok {
		return nil, fmt.Errorf("decode payload with key %.32q: %w", id, ErrUnknownKey)
	}
	plain, err := k.aead.Open(nil, nil, p.GetData(), associatedData(encoding, id))
	if err != nil {
		return nil, fmt.Errorf("decode payload with key %q: %w", id, ErrTampered)
	}
	decoded := &commonpb.Payload{}
	if err := proto.Unmarshal(plain, decoded); err != nil {
		return nil, fmt.Errorf("decode payload with key %q: %w", id, ErrTampered)
	}
	return decoded, nil
}

// associatedData is what the ciphertext is bound to beside itself: the format,
// and the metadata by which it was recognised.
func associatedData(encoding, keyID string) []byte {
	return []byte(aadDomain + "\x00" + encoding + "\x00" + keyID)
}
