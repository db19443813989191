package helm

import (
	"fmt"

	"helm.sh/helm/v3/pkg/release"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// present is where a release stands on the way to a wanted state, as its records say.
type present struct {
	// revision is the one whose content the objects have.
	revision
	// digest is that of the state. It is that of the revision, but for one that failed
	// with the wanted content: that is not where it should be.
	digest string
	// unfinished is a later revision that Backout began for the wanted state and did
	// not complete; nil when there is none.
	unfinished *revision
	past       history
}

// present reads where the release stands on the way to the content with the digest
// wanted.
func (h history) present(wanted string) present {
	last := h.last()
	if last.pending() && last.ours() && last.digest == wanted && len(h) > 1 {
		p := h[:len(h)-1].present(wanted)
		p.unfinished, p.past = &last, h
		return p
	}
	p := present{revision: last, digest: last.digest, past: h}
	if last.Info.Status == release.StatusFailed && last.digest == wanted {
		p.digest = incident.DigestOf([]byte("failed " + last.digest))
	}
	return p
}

func (p present) state() incident.State {
	state := p.revision.state()
	state.Digest = p.digest
	return state
}

// gone says why there is nothing to take back.
func (p present) gone() string {
	switch p.past.last().Info.Status {
	case release.StatusUninstalled, release.StatusUninstalling:
		return "was uninstalled"
	case release.StatusUnknown, release.StatusDeployed, release.StatusSuperseded, release.StatusFailed,
		release.StatusPendingInstall, release.StatusPendingUpgrade, release.StatusPendingRollback:
	}
	return ""
}

// busy is the revision of a change that somebody else has not finished.
func (p present) busy() (revision, bool) {
	last := p.past.last()
	return last, last.pending() && !last.ours()
}

// astray reports whether objects may have the content of a revision that a rollback
// of Backout's was about to leave when it was cut, and that is not the wanted one.
func (p present) astray(wanted string) bool {
	if p.unfinished != nil || !p.pending() || !p.ours() {
		return false
	}
	return len(p.past) < 2 || p.past[:len(p.past)-1].present(wanted).revision.digest != wanted
}

// compare is done when the release is at "to", and a *driver.DriftError when it is at
// neither.
func (p present) compare(c *clients, action incident.Action) (done bool, err error) {
	switch p.digest {
	case action.To.Digest:
		return true, nil
	case action.From.Digest:
		return false, nil
	}
	return false, &driver.DriftError{Action: action, Observed: p.state(), Difference: p.drifted(c, action)}
}

// drifted says in one line what is there in place of "from".
func (p present) drifted(c *clients, action incident.Action) string {
	if p.Info.Status == release.StatusFailed && p.revision.digest == action.To.Digest {
		return p.name() + " has the wanted content and failed"
	}
	from, ok := p.past.find(action.From)
	if !ok {
		return p.name() + " was deployed, and the expected one has left the history"
	}
	return fmt.Sprintf("%s was deployed: %s", p.name(), difference(c, from.Release, p.Release))
}
