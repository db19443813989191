package codec

import (
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	// maxBody is the largest request to the endpoint, in bytes. The Web UI
	// sends the payloads of a page of events at once; a payload has at most
	// 2 MiB. Source: https://docs.temporal.io/cloud/limits
	maxBody = 16 << 20

	decodePath = "/codec/decode"
	encodePath = "/codec/encode"

	// preflightAge is how long a browser may remember a preflight, in seconds.
	preflightAge = "600"
)

// HandlerOptions say whom the endpoint serves.
type HandlerOptions struct {
	// Origin is the Web UI's origin, for example "http://127.0.0.1:8233". A
	// request from another origin, or from none, is refused.
	Origin string
	// Encode offers /codec/encode too. Without it nobody can make the endpoint
	// produce a payload that a workflow would trust; a Web UI that only reads
	// needs no encoding.
	Encode bool
}

// NewHandler returns the remote codec endpoint for Temporal's Web UI: POST
// /codec/decode, and /codec/encode if the options offer it. It answers
// processes of this machine only, whatever address it is served on, and sends
// the browser's permission to read the answer to the one origin alone.
//
// Payloads that are not encrypted come back as they are: what is shown to a
// person needs no proof, what reaches a workflow does.
// Source: https://docs.temporal.io/codec-server
func NewHandler(c *Codec, opts HandlerOptions) (http.Handler, error) {
	if opts.Origin == "" {
		return nil, errors.New("compose codec endpoint: no origin given")
	}
	h := &handler{codec: &Codec{keys: c.keys, allowPlain: true}, origin: opts.Origin}
	mux := http.NewServeMux()
	mux.Handle(decodePath, h.guard(h.codec.Decode))
	if opts.Encode {
		mux.Handle(encodePath, h.guard(h.codec.Encode))
	}
	return mux, nil
}

type handler struct {
	codec  *Codec
	origin string
}

// guard refuses whoever is not the Web UI on this machine and answers the
// browser's preflight.
func (h *handler) guard(convert func([]*commonpb.Payload) ([]*commonpb.Payload, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Vary", "Origin")
		header.Set("Cache-Control", "no-store")
		// The Host is checked as well: a page can point its own name at this
		// machine, but not change the name that the browser sends.
		if !isLoopback(r.RemoteAddr) || !isLoopback(r.Host) || r.Header.Get("Origin") != h.origin {
			http.Error(w, "this endpoint serves the Web UI on this machine only", http.StatusForbidden)
			return
		}
		header.Set("Access-Control-Allow-Origin", h.origin)
		switch r.Method {
		case http.MethodOptions:
			header.Set("Access-Control-Allow-Methods", http.MethodPost)
			header.Set("Access-Control-Allow-Headers", "Content-Type, X-Namespace")
			header.Set("Access-Control-Max-Age", preflightAge)
			w.WriteHeader(http.StatusNoContent)
		case http.MethodPost:
			h.serve(w, r, convert)
		default:
			header.Set("Allow", http.MethodPost)
			http.Error(w, "only POST is served", http.StatusMethodNotAllowed)
		}
	})
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request, convert func([]*commonpb.Payload) ([]*commonpb.Payload, error)) {
	// A form can be sent to anywhere without a preflight; JSON cannot.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		http.Error(w, "only application/json is served", http.StatusUnsupportedMediaType)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "the request is too large or broke off", http.StatusRequestEntityTooLarge)
		return
	}
	var in commonpb.Payloads
	if err := protojson.Unmarshal(body, &in); err != nil {
		http.Error(w, "the request is not a list of payloads", http.StatusBadRequest)
		return
	}
	converted, err := convert(in.GetPayloads())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, err := protojson.Marshal(&commonpb.Payloads{Payloads: converted})
	if err != nil {
		http.Error(w, "the payloads cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A write fails when the browser is gone, and then nobody wants to know.
	_, _ = w.Write(out)
}

// isLoopback says whether a host, or a host and port, is this machine.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}
