package fakeslack

import (
	"time"

	"golang.org/x/time/rate"
)

// tierPerMinute is how many requests a minute each tier grants.
// Source: https://docs.slack.dev/apis/web-api/rate-limits
var tierPerMinute = map[int]float64{1: 1, 2: 20, 3: 50, 4: 100}

// limiter counts requests by method, and messages by channel. The server's lock
// guards it.
type limiter struct {
	limits  Limits
	methods map[string]*rate.Limiter
	posts   map[string]*rate.Limiter
}

func newLimiter(limits Limits) limiter {
	return limiter{limits: limits, methods: map[string]*rate.Limiter{}, posts: map[string]*rate.Limiter{}}
}

// take spends one request and returns how long to wait if there is none left.
func (l *limiter) take(now time.Time, method string, tier int, channel string) time.Duration {
	if l.limits.Off {
		return 0
	}
	if perMinute, limited := tierPerMinute[tier]; limited {
		perMinute *= l.limits.Scale
		bucket, ok := l.methods[method]
		if !ok {
			bucket = rate.NewLimiter(rate.Limit(perMinute/60), max(1, int(perMinute)))
			l.methods[method] = bucket
		}
		if wait := spend(bucket, now); wait > 0 {
			return wait
		}
	}
	if method != "chat.postMessage" {
		return 0
	}
	bucket, ok := l.posts[channel]
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(l.limits.PostsPerSecond), l.limits.PostBurst)
		l.posts[channel] = bucket
	}
	return spend(bucket, now)
}

// spend takes one request out of a bucket, or says how long until there is one.
func spend(bucket *rate.Limiter, now time.Time) time.Duration {
	reservation := bucket.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}
