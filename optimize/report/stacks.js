for (const stack of document.querySelectorAll(".stack")) {
  const images = stack.querySelectorAll("img"), slider = stack.querySelector("input"), where = stack.querySelector("output");
  slider.hidden = false;
  slider.addEventListener("input", () => {
    images.forEach((image, k) => { image.hidden = k !== Number(slider.value); });
    where.textContent = images[slider.value].alt;
  });
}
