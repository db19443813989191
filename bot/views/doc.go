// Package views turns an incident into what people read: the Slack card, the
// menus and modals, the words of an answer, the postmortem and the console
// page. It is the only place where words for people are written: what
// happened, what was not done, what to do next.
//
// Every function is pure: the same view gives the same bytes. There is no
// clock, no network and no state here, so every picture is a golden file.
//
// It refuses to interpret text from outside. Titles, change summaries, names
// and reasons are cleaned, cut and escaped for the surface they are shown on;
// plain_text and rich_text objects are preferred to mrkdwn, because nothing is
// interpreted in them. It never says that something happened which the view
// does not record.
//
// Package bot and the commands import it; integrations do not, they are handed
// a render function.
package views
