package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"

	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
)

const (
	maxPort = 65535

	// firstPort and lastPort bound the free ports. They lie below the range
	// from which Linux (32768) and the BSDs (49152) take the ports of outgoing
	// connections, so a port found free here is not taken by one of those
	// before the server listens on it.
	// Source: net.ipv4.ip_local_port_range in the Linux kernel documentation.
	firstPort = 20000
	lastPort  = 32767

	// portTries bounds the search for one free port.
	portTries = 200
)

// ports are the loopback ports of the server's services.
type ports struct {
	frontend, http, history, matching, worker int
}

// pickPorts takes the wanted frontend port, or a free one when it is 0, and
// free ones for the rest.
func pickPorts(ctx context.Context, frontend int) (ports, error) {
	var p ports
	if frontend != 0 {
		if err := checkFree(ctx, frontend); err != nil {
			return p, fmt.Errorf("use frontend port %d: %w", frontend, err)
		}
		p.frontend = frontend
	}
	taken := map[int]bool{frontend: true}
	for _, port := range []*int{&p.frontend, &p.http, &p.history, &p.matching, &p.worker} {
		if *port != 0 {
			continue
		}
		free, err := freePort(ctx, taken)
		if err != nil {
			return p, err
		}
		*port = free
	}
	return p, nil
}

// freePort finds a port that nobody listens on and that is not in taken, and
// adds it there.
func freePort(ctx context.Context, taken map[int]bool) (int, error) {
	for range portTries {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("find a free loopback port: %w", err)
		}
		//nolint:gosec // A port number is no secret: any spread will do.
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if !taken[port] && checkFree(ctx, port) == nil {
			taken[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free loopback port: none in %d tries", portTries)
}

func checkFree(ctx context.Context, port int) error {
	l, err := listenLoopback(ctx, port)
	if err != nil {
		return err
	}
	return l.Close()
}

func (p ports) services() map[primitives.ServiceName]int {
	return map[primitives.ServiceName]int{
		primitives.FrontendService: p.frontend,
		primitives.HistoryService:  p.history,
		primitives.MatchingService: p.matching,
		primitives.WorkerService:   p.worker,
	}
}

// staticHosts tells every service where the others are, in place of gossip.
func (p ports) staticHosts() map[primitives.ServiceName]static.Hosts {
	hosts := map[primitives.ServiceName]static.Hosts{}
	for name, port := range p.services() {
		hosts[name] = static.SingleLocalHost(p.address(port))
	}
	return hosts
}

func (p ports) text(port int) string { return strconv.Itoa(port) }

func (p ports) address(port int) string { return net.JoinHostPort(loopback, p.text(port)) }
