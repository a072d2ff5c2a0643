// Before anything is painted: the colours that the reader chose, so that the page does not flash in others.
{
  const query = new URLSearchParams(location.search);
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem("klinehub.board")) ?? {};
  } catch {
    // Storage may be refused: then the system's colours are used.
  }
  for (const name of ["theme", "palette"]) {
    const chosen = query.get(name) || kept[name];
    if (typeof chosen === "string" && chosen) document.documentElement.dataset[name] = chosen;
  }
}
