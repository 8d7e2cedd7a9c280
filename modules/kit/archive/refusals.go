package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"unicode/utf8"

	"pandu/modules/kit/fault"
)

const smaller = "List what does not belong to the project, such as node_modules and build output, in .dockerignore, or leave it out."

func refusePacked(limit int64) error {
	return fault.Newf(fault.TooLarge, "archive_packed_size", "The archive is bigger than %s. %s", size(limit), smaller).
		With("limit", strconv.FormatInt(limit, 10))
}

func refuseUnpacked(path string, limit int64) error {
	return fault.Newf(fault.TooLarge, "archive_unpacked_size", "The archive unpacks to more than %s (at %s). %s", size(limit), show(path), smaller).
		With("limit", strconv.FormatInt(limit, 10)).With("path", show(path))
}

func refuseEntries(path string, limit int) error {
	return fault.Newf(fault.TooLarge, "archive_entries", "The archive has more than %d files (at %s). %s", limit, show(path), smaller).
		With("limit", strconv.Itoa(limit)).With("path", show(path))
}

func refuseRatio(path string, limit int64) error {
	return fault.Newf(fault.TooLarge, "archive_ratio", "The archive unpacks to more than %d times its size (at %s), as only a trap does. %s", limit, show(path), smaller).
		With("limit", strconv.FormatInt(limit, 10)).With("path", show(path))
}

// refuse makes an Invalid fault about one path. message is a format for the path alone.
func refuse(code, path, message string) *fault.Error {
	return fault.Newf(fault.Invalid, code, message, show(path)).With("path", show(path))
}

func refuseOutside(path string) error {
	return refuse("archive_path_outside", path, "The path %s leaves the archive. Pack the project with relative paths and without \"..\".")
}

func refuseCollision(first, second string) error {
	return fault.Newf(fault.Invalid, "archive_name_collision",
		"The archive has two entries for one name: %s and %s. Rename or remove one; names that differ only in upper and lower case are not distinct everywhere.", show(first), show(second)).
		With("path", show(second)).With("other", show(first))
}

func refuseLinkOutside(path, target string) error {
	return fault.Newf(fault.Invalid, "archive_link_outside",
		"The link %s points to %s, outside the archive. Replace it with what it points to.", show(path), show(target)).
		With("path", show(path)).With("target", show(target))
}

func refuseSpecial(path string) error {
	return refuse("archive_special_file", path, "%s is neither a file nor a folder nor a link (a device, a pipe or the like). Leave it out.")
}

func refuseSetuid(path string) error {
	return refuse("archive_setuid", path, "The file %s has a set-user-id or set-group-id bit. Remove the bit (chmod ug-s), and set it in the Dockerfile if the program needs it.")
}

func refuseSize(path string) error {
	return refuse("archive_size_mismatch", path, "The archive lies about the size of %s. Pack the project again.")
}

func refuseHeaders(path string) error {
	return refuse("archive_header_mismatch", path, "The two descriptions of %s in the zip file differ. Pack the project again.")
}

func refuseEmpty() error {
	return fault.New(fault.Invalid, "archive_empty", "The archive holds no file. Pack the project's folder again.")
}

// corrupt says that the bytes make no archive; nil stays nil. Errors of the disk stay what they are, and so do refusals and cancellations.
func corrupt(path string, cause error) error {
	var disk *fs.PathError
	var f *fault.Error
	switch {
	case cause == nil:
		return nil
	case errors.As(cause, &f), errors.Is(cause, context.Canceled), errors.Is(cause, context.DeadlineExceeded):
		return cause
	case errors.As(cause, &disk):
		return fmt.Errorf("read archive: %w", cause)
	case path == "":
		return fault.New(fault.Invalid, "archive_corrupt", "The archive is damaged or cut short. Pack the project and upload it again.").Because(cause)
	}
	return refuse("archive_corrupt", path, "The archive is damaged or cut short at %s. Pack the project and upload it again.").Because(cause)
}

// show makes a path from an archive safe to print: quoted, without control characters, at most 200 bytes.
func show(path string) string {
	const most = 200
	if len(path) > most {
		path = strings.ToValidUTF8(path[:most], "") + "…"
	}
	if utf8.ValidString(path) && !strings.ContainsFunc(path, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return path
	}
	q := strconv.Quote(path)
	return q[1 : len(q)-1]
}

func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
