// Rows of the table of keys that hold every word that was typed.
const field = document.getElementById("keys-filter");
if (field) {
  const rows = [...document.querySelectorAll("#keys tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/);
    let left = 0;
    rows.forEach((row, place) => {
      row.hidden = !words.every((word) => texts[place].includes(word));
      left += !row.hidden;
    });
    document.getElementById("keys-count").textContent = `${left} of ${rows.length} rows`;
  };
  field.addEventListener("input", show);
  show();
}
