// One request, with the progress of its upload. XMLHttpRequest, because fetch does not tell it.

/** An answer that is no score: the service's problem document, or that there was no answer. */
export class Problem extends Error {
  constructor(document, retryAfter = null) {
    super(document.detail);
    this.title = document.title;
    this.code = document.code;
    this.param = document.param ?? null;
    this.requestId = document.request_id ?? null;
    this.retryAfter = retryAfter;
  }
}

/**
 * POST a form.
 * @param {string} path relative to the page
 * @param {FormData} form
 * @param {{key: string, signal: AbortSignal, onUpload: (share: number) => void}} options
 * @returns {Promise<object>} the answer's JSON
 * @throws {Problem} and an AbortError if `signal` says so
 */
export function send(path, form, { key, signal, onUpload }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Accept", "application/json, application/problem+json");
    if (key) request.setRequestHeader("Authorization", `Bearer ${key}`);
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onUpload(event.loaded / event.total);
    };
    request.upload.onload = () => onUpload(1);
    request.onload = () => {
      const body = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300 && body) return resolve(body);
      const wait = Number.parseInt(request.getResponseHeader("Retry-After") ?? "", 10);
      reject(new Problem(body?.code ? body : foreign(request.status), Number.isNaN(wait) ? null : wait));
    };
    request.onerror = () => reject(new Problem(UNREACHABLE));
    request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const UNREACHABLE = {
  title: "No answer",
  code: "unreachable",
  detail: "The service could not be reached, or the connection broke. Check that it runs, then try again.",
};

/** What a proxy before the service says is no problem document. */
function foreign(status) {
  return {
    title: `Answer ${status}`,
    code: `http_${status}`,
    detail:
      status === 413
        ? "Something between this page and the service refuses uploads of this size."
        : "Something between this page and the service answered in its place. Try again later.",
  };
}
