package codec_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/backout/backout/workflows/worker/codec"
)

const secret = "drop table customers"

// keys returns one set with a key for each byte given: the same byte gives
// the same key.
func keys(t testing.TB, seeds ...byte) *codec.Keys {
	t.Helper()
	raw := make([][]byte, 0, len(seeds))
	for _, seed := range seeds {
		k := bytes.Repeat([]byte{seed}, codec.KeySize)
		k[0]++
		raw = append(raw, k)
	}
	set, err := codec.NewKeys(raw...)
	require.NoError(t, err)
	return set
}

func newCodec(t testing.TB, opts codec.Options) *codec.Codec {
	t.Helper()
	c, err := codec.New(opts)
	require.NoError(t, err)
	return c
}

func payload(text string) *commonpb.Payload {
	return &commonpb.Payload{
		Metadata: map[string][]byte{converter.MetadataEncoding: []byte("json/plain"), "extra": []byte("kept")},
		Data:     []byte(text),
	}
}

func encode(t testing.TB, c *codec.Codec, p *commonpb.Payload) *commonpb.Payload {
	t.Helper()
	out, err := c.Encode([]*commonpb.Payload{p})
	require.NoError(t, err)
	require.Len(t, out, 1)
	return out[0]
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	c := newCodec(t, codec.Options{Keys: keys(t, 1)})
	tests := []struct {
		name string
		in   *commonpb.Payload
	}{
		{name: "text", in: payload(secret)},
		{name: "empty", in: &commonpb.Payload{}},
		{name: "metadata only", in: &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/null")}}},
		{name: "large", in: payload(string(bytes.Repeat([]byte("x"), 1<<20)))},
		{name: "already encrypted", in: encode(t, c, payload(secret))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before := proto.Clone(tt.in)
			enc := encode(t, c, tt.in)
			require.True(t, proto.Equal(before, tt.in), "the argument is not changed")
			require.Equal(t, codec.Encoding, string(enc.GetMetadata()[converter.MetadataEncoding]))
			require.Equal(t, keys(t, 1).IDs()[0], string(enc.GetMetadata()[codec.MetadataKeyID]))
			require.NotContains(t, enc.String(), "json/plain")
			require.NotContains(t, string(enc.GetData()), secret)
			dec, err := c.Decode([]*commonpb.Payload{enc})
			require.NoError(t, err)
			require.True(t, proto.Equal(before, dec[0]))
		})
	}
}

func TestEqualPayloadsEncryptDifferently(t *testing.T) {
	t.Parallel()
	c := newCodec(t, codec.Options{Keys: keys(t, 1)})
	one, other := encode(t, c, payload(secret)), encode(t, c, payload(secret))
	require.NotEqual(t, one.GetData(), other.GetData())
}

func TestRotation(t *testing.T) {
	t.Parallel()
	before := newCodec(t, codec.Options{Keys: keys(t, 1)})
	during := newCodec(t, codec.Options{Keys: keys(t, 2, 1)})
	after := newCodec(t, codec.Options{Keys: keys(t, 2)})

	dec, err := during.Decode([]*commonpb.Payload{encode(t, before, payload("old")), encode(t, during, payload("new"))})
	require.NoError(t, err)
	require.Equal(t, "old", string(dec[0].GetData()))
	require.Equal(t, "new", string(dec[1].GetData()))

	_, err = after.Decode([]*commonpb.Payload{encode(t, during, payload("new"))})
	require.NoError(t, err, "the first key encrypts")
	_, err = after.Decode([]*commonpb.Payload{encode(t, before, payload("old"))})
	require.ErrorIs(t, err, codec.ErrUnknownKey)
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	set := keys(t, 1, 2)
	strict := newCodec(t, codec.Options{Keys: set})
	lax := newCodec(t, codec.Options{Keys: set, AllowPlain: true})
	tests := []struct {
		name   string
		change func(p *commonpb.Payload) *commonpb.Payload
		want   error
		// lax is what the codec that allows plain payloads answers.
		lax error
	}{
		{
			name:   "not encrypted",
			change: func(*commonpb.Payload) *commonpb.Payload { return payload(secret) },
			want:   codec.ErrPlain,
		},
		{
			name:   "no metadata",
			change: func(p *commonpb.Payload) *commonpb.Payload { p.Metadata = nil; return p },
			want:   codec.ErrPlain,
		},
		{
			name: "encoding in capitals",
			change: func(p *commonpb.Payload) *commonpb.Payload {
				return meta(p, converter.MetadataEncoding, "BINARY/ENCRYPTED")
			},
			want: codec.ErrPlain,
		},
		{
			name:   "no key named",
			change: func(p *commonpb.Payload) *commonpb.Payload { return meta(p, codec.MetadataKeyID, "") },
			want:   codec.ErrUnknownKey, lax: codec.ErrUnknownKey,
		},
		{
			name:   "unknown key named",
			change: func(p *commonpb.Payload) *commonpb.Payload { return meta(p, codec.MetadataKeyID, "0123456789abcdef") },
			want:   codec.ErrUnknownKey, lax: codec.ErrUnknownKey,
		},
		{
			name:   "another of our keys named",
			change: func(p *commonpb.Payload) *commonpb.Payload { return meta(p, codec.MetadataKeyID, set.IDs()[1]) },
			want:   codec.ErrTampered, lax: codec.ErrTampered,
		},
		{
			name:   "cut short",
			change: func(p *commonpb.Payload) *commonpb.Payload { p.Data = p.GetData()[:len(p.GetData())-1]; return p },
			want:   codec.ErrTampered, lax: codec.ErrTampered,
		},
		{
			name:   "shorter than a nonce",
			change: func(p *commonpb.Payload) *commonpb.Payload { p.Data = p.GetData()[:5]; return p },
			want:   codec.ErrTampered, lax: codec.ErrTampered,
		},
		{
			name:   "no data",
			change: func(p *commonpb.Payload) *commonpb.Payload { p.Data = nil; return p },
			want:   codec.ErrTampered, lax: codec.ErrTampered,
		},
		{
			name:   "lengthened",
			change: func(p *commonpb.Payload) *commonpb.Payload { p.Data = append(p.GetData(), 0); return p },
			want:   codec.ErrTampered, lax: codec.ErrTampered,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			good := encode(t, strict, payload(secret))
			bad := tt.change(encode(t, strict, payload(secret)))
			_, err := strict.Decode([]*commonpb.Payload{good, bad})
			require.ErrorIs(t, err, tt.want)
			require.NotContains(t, err.Error(), secret)

			got, err := lax.Decode([]*commonpb.Payload{good, bad})
			if tt.lax != nil {
				require.ErrorIs(t, err, tt.lax)
				return
			}
			require.NoError(t, err)
			require.True(t, proto.Equal(bad, got[1]))
		})
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	c := newCodec(t, codec.Options{Keys: keys(t, 1)})
	enc := encode(t, c, payload("x"))
	for i := range len(enc.GetData()) * 8 {
		bad := proto.CloneOf(enc)
		bad.Data[i/8] ^= 1 << (i % 8)
		_, err := c.Decode([]*commonpb.Payload{bad})
		require.ErrorIs(t, err, codec.ErrTampered, "bit %d", i)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := codec.New(codec.Options{})
	require.ErrorContains(t, err, "no keys given")
	tests := []struct {
		name string
		raw  [][]byte
		want string
	}{
		{name: "none", want: "there is none"},
		{name: "short", raw: [][]byte{make([]byte, 31)}, want: "it has 31 bytes, want 32"},
		{name: "long", raw: [][]byte{make([]byte, 33)}, want: "it has 33 bytes, want 32"},
		{name: "zero", raw: [][]byte{make([]byte, 32)}, want: "one byte repeated"},
		{name: "twice", raw: func() [][]byte { k := codec.GenerateKey(); return [][]byte{k, k} }(), want: "payload key 2: it is there twice"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := codec.NewKeys(tt.raw...)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestKeysAreNotPrinted(t *testing.T) {
	t.Parallel()
	raw := codec.GenerateKey()
	set, err := codec.NewKeys(raw)
	require.NoError(t, err)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, "keys "+set.IDs()[0], fmt.Sprintf(format, set))
	}
}

func FuzzDecode(f *testing.F) {
	set := keys(f, 1)
	strict := newCodec(f, codec.Options{Keys: set})
	enc := encode(f, strict, payload(secret))
	f.Add([]byte(codec.Encoding), []byte(set.IDs()[0]), enc.GetData())
	f.Add([]byte(codec.Encoding), []byte(set.IDs()[0]), []byte{})
	f.Add([]byte("json/plain"), []byte{}, []byte(`"x"`))
	f.Fuzz(func(t *testing.T, encoding, id, data []byte) {
		got, err := strict.Decode([]*commonpb.Payload{{
			Metadata: map[string][]byte{converter.MetadataEncoding: encoding, codec.MetadataKeyID: id},
			Data:     data,
		}})
		if err != nil {
			return
		}
		// Nothing but what was encrypted ever gets through.
		require.Equal(t, enc.GetData(), data)
		require.True(t, proto.Equal(payload(secret), got[0]))
	})
}

func FuzzRoundTrip(f *testing.F) {
	c := newCodec(f, codec.Options{Keys: keys(f, 1)})
	f.Add("encoding", []byte("json/plain"), []byte(`"x"`))
	f.Fuzz(func(t *testing.T, name string, value, data []byte) {
		in := &commonpb.Payload{Metadata: map[string][]byte{name: value}, Data: data}
		if _, err := proto.Marshal(in); err != nil {
			// The name is not UTF-8: the codec says so as well.
			_, err = c.Encode([]*commonpb.Payload{in})
			require.Error(t, err)
			return
		}
		out, err := c.Decode([]*commonpb.Payload{encode(t, c, in)})
		require.NoError(t, err)
		require.True(t, proto.Equal(in, out[0]))
	})
}

func meta(p *commonpb.Payload, name, value string) *commonpb.Payload {
	p.Metadata[name] = []byte(value)
	return p
}
