/* The tracks of a map of which the page has only the points: the rest is asked for when it is needed. */
"use strict";

const mapPoints = (() => {
  const KEPT = 2000; // tracks

  /* Return tracks for createMap. `ask` sends a request, and `onChanged` is called if the service has another map. */
  function read(content, { ask, post, onChanged }) {
    const known = new Map();
    const strengths = new Map();
    const underway = new Map();
    const columns = Object.entries(content.columns).map(([name, one]) => [name, { ...one, codes: mapTracks.unpack(one.codes) }]);
    let changed = false;
    const version = `version=${content.version}`;

    /* Send each question once, and remember the answer. */
    function once(key, question, keep) {
      if (!underway.has(key)) {
        const asked = question().then(keep).catch((error) => {
          if (error.status === 409 && !changed) onChanged((changed = true));
          throw error;
        });
        underway.set(key, asked.finally(() => underway.delete(key)));
      }
      return underway.get(key);
    }

    const fact = (name, empty) => (i) => (known.has(i) && known.get(i)[name]) || empty;
    return {
      count: content.count,
      ...mapTracks.positions(content),
      columns: Object.fromEntries(columns),
      tagNames: content.tags.names,
      tagFamilies: content.tags.families,
      graded: content.tags.graded,
      loaded: (i) => known.has(i),
      load: (i) => once(`row ${i}`, () => ask(`v1/map/tracks?${version}&row=${i}`), ({ tracks }) => {
        if (known.size >= KEPT) known.delete(known.keys().next().value);
        known.set(i, tracks[0]);
      }),
      tagLoaded: (code) => strengths.has(code),
      loadTag: (code) => once(`tag ${code}`, () => ask(`v1/map/tags/${code}?${version}`), (packed) =>
        strengths.set(code, mapTracks.unpack(packed))),
      strengthsOf: (code) => strengths.get(code),
      id: fact("track_id", ""),
      title: (i) => (known.has(i) ? eno.titleOf(known.get(i)) : ""),
      value: (name, i) => fact(name, "")(i),
      year: fact("year", ""),
      tagsOf: (i) => fact("tags", [])(i).map((name) => ({ name })),
      neighboursOf: fact("neighbours", []),
      /* Ask for the rows of tracks; null for those that the map does not show. */
      async rowsOf(ids) {
        const question = () => post("v1/map/rows", { version: content.version, track_ids: ids });
        return once(`ids ${JSON.stringify(ids)}`, question, ({ rows }) => rows);
      },
    };
  }

  return { read };
})();
